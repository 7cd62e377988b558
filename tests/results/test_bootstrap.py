"""Counts of single images, and intervals of mIoU differences from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import as_imported, one_record, write_run
from scipy import stats

from issbench.bench.metrics import Context, merge, metrics_for, step_values
from issbench.files import sha256_of, write_arrays, write_sealed
from issbench.results.bootstrap import (
    Interval,
    Resampled,
    paired_interval,
    resample,
    resample_counts,
    shared_deviation,
)
from issbench.results.counts import ClassGroup, harmonic_mean, mean_iou, mean_of_group, pack, unpack
from issbench.results.image_counts import ImageCounts, group_of, load_image_counts
from issbench.results.runs import RecordError, Run
from issbench.scenarios.protocol import PROTOCOLS

SPANS = {
    "named": {"base": (0, 2), "new": (3, 4), "all": (0, 4)},
    "printed": {"0-2": (0, 2), "3-4": (3, 4), "all": (0, 4)},
}
ALL = ClassGroup(0, 4, False)
NAME = "evaluation-abc"
METRICS = metrics_for(())


def totals(images: np.ndarray) -> dict[str, list[int]]:
    """The counts of all images together."""
    return merge(METRICS, {"confusion": images})["confusion"]


def counts(images: int = 40, seed: int = 0, quality: float = 0.7) -> np.ndarray:
    """Counts `[images, 3, 5]` of a network that gets `quality` of the pixels right; class 4 is in few images."""
    generator = np.random.default_rng(seed)
    labelled = generator.integers(1, 1000, (images, 5)) * (generator.random((images, 5)) < [1, 0.5, 0.5, 0.3, 0.1])
    hits = generator.binomial(labelled, quality)
    false = generator.integers(0, 200, (images, 5)) * (generator.random((images, 5)) < 0.4)
    return np.stack([hits, false, labelled - hits], axis=1)


def write(out: Path, method: str, images: np.ndarray, protocol: str = "plop", **changed: Any) -> Run:
    """A run with the numbers and files that the engine writes; `changed` are entries of its last step."""
    file = f"steps/{method}/{NAME}.npz"
    (out / file).parent.mkdir(parents=True)
    write_arrays(out / file, pack(images))
    record = one_record(method, "shapes_2-2", classes=["a", "b", "c", "d"], protocol=protocol)
    found, context = totals(images), Context(SPANS, PROTOCOLS[protocol].absent == "zero", 2)
    record["steps"][-1] |= {  # type: ignore[typeddict-item]
        "metrics": step_values(METRICS, {"confusion": found}, context),
        "counts": found,
        "evaluations": {"confusion": {"name": NAME, "images": file}},
        **changed,
    }
    seal(out / file, record["steps"][-1]["key"])
    return write_run(out, method, record)


def resampled(images: np.ndarray, group: ClassGroup = ALL, resamples: int = 1000, seed: int = 0) -> Resampled:
    return resample_counts(ImageCounts(NAME, images), group, "network", resamples=resamples, seed=seed)


def between(a: Run, b: Run, group: str = "all") -> Interval:
    return paired_interval(resample(a, group, resamples=50), resample(b, group, resamples=50))


def seal(path: Path, key: str | None) -> None:
    """The file beside counts of images that has their checksum."""
    write_sealed(path.with_suffix(".json"), {"counts_sha256": sha256_of(path)}, str(key))


def images_of(run: Run) -> Path:
    """The file with the counts of single images."""
    evaluations = run.last["evaluations"]
    assert evaluations is not None
    return run.store / evaluations["confusion"]["images"]


def test_packed_counts_are_read_back() -> None:
    images = counts()
    images[3] = 0  # an image without a labelled pixel
    assert unpack(pack(images)).tolist() == images.tolist()
    assert unpack(pack(images[:0])).shape == (0, 3, 5)
    with pytest.raises(ValueError, match="format 9, this version reads 1"):
        unpack(pack(images) | {"format": np.array(9)})


@pytest.mark.parametrize("protocol", ["plop", "ssul"])
def test_point_estimates_are_those_of_the_record(tmp_path: Path, protocol: str) -> None:
    images = counts()
    images[:, 0, 2] = images[:, 2, 2] = 0  # class 2 is predicted, and never there
    run = write(tmp_path, "gsc", images, protocol)
    stored = load_image_counts(run)
    assert stored.evaluation == NAME and stored.counts.tolist() == images.tolist()
    for name in ("base", "new", "all", "0-2", "3-4"):
        expected = (run.last["metrics"]["miou"] | run.last["metrics"]["groups"])[name]
        assert mean_iou(stored.counts.sum(axis=0), group_of(run, name)) == pytest.approx(expected, abs=1e-12)
    other = write(tmp_path, "plop", counts(quality=0.5), protocol)
    found = between(run, other)
    assert found.a == pytest.approx(run.last["metrics"]["miou"]["all"]) and found.b == pytest.approx(
        other.last["metrics"]["miou"]["all"]
    )


def test_mean_iou_by_hand() -> None:
    table = np.array([[60, 10, 30, 0.0, 0], [20, 10, 0, 5.0, 0], [20, 0, 10, 0.0, 0]])
    assert mean_iou(table, ALL) == pytest.approx((60 + 50 + 75) / 3)
    assert mean_iou(table, ClassGroup(0, 4, True)) == pytest.approx((60 + 50 + 75) / 5)
    assert mean_iou(table, ClassGroup(1, 1, False)) == pytest.approx(50)
    assert np.isnan(mean_iou(table, ClassGroup(3, 4, False)))
    assert mean_iou(table, ClassGroup(3, 4, True)) == 0


def test_means_from_iou_are_those_from_counts() -> None:
    table = np.array([[60, 10, 30, 0, 0], [20, 10, 0, 5, 0], [20, 0, 10, 0, 0]])
    iou = [60.0, 50.0, 75.0, None, None]
    for group in (ALL, ClassGroup(0, 4, True), ClassGroup(1, 1, False), ClassGroup(3, 4, True)):
        assert mean_of_group(iou, group) == pytest.approx(mean_iou(table, group))
    assert mean_of_group(iou, ClassGroup(3, 4, False)) is None
    assert mean_of_group(iou[:3], ClassGroup(2, 4, True)) == 75.0  # later classes are not yet learned
    assert mean_of_group(iou[:3], ClassGroup(3, 4, True)) is None


def test_harmonic_mean_by_hand() -> None:
    assert harmonic_mean(60.0, 30.0) == pytest.approx(40.0)
    assert harmonic_mean(60.0, 0.0) == harmonic_mean(0.0, 0.0) == 0.0
    assert harmonic_mean(60.0, None) is None


def looped(a: np.ndarray, b: np.ndarray, group: ClassGroup, resamples: int, seed: int) -> np.ndarray:
    """The differences image by image, as a loop."""
    generator = np.random.Generator(np.random.PCG64(seed))
    found = []
    for drawn in generator.integers(len(a), size=(resamples, len(a))):
        one, other = (mean_iou(x[drawn].sum(axis=0).astype(float), group) for x in (a, b))
        found.append(one - other)
    return np.array(found)


def test_draws_are_those_of_a_loop_over_resamples() -> None:
    a, b = counts(30, 1, 0.8), counts(30, 1, 0.7)
    group = ClassGroup(1, 4, False)
    expected = looped(a, b, group, 300, seed=5)
    one, other = (resampled(x, group, 300, seed=5) for x in (a, b))
    assert one.draws - other.draws == pytest.approx(expected)
    found = paired_interval(one, other, level=0.9)
    tail = stats.norm.cdf(stats.t.ppf(0.05, 29) * np.sqrt(30 / 29))  # Hesterberg (2015), a little below 0.05
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(expected, [tail, 1 - tail])))
    assert found.images == 30 and 0.04 < tail < 0.05


def test_resamples_without_the_group_are_left_out() -> None:
    a = counts(12, 2)
    a[1:, :, 4] = 0
    a[0, :, 4] = 50, 0, 50  # class 4 is in one image of twelve
    b = a.copy()
    b[0, :, 4] = 25, 0, 75
    group = ClassGroup(4, 4, False)
    one, other = (resampled(x, group) for x in (a, b))
    found = paired_interval(one, other)
    # Of the resamples (11 / 12)¹² ≈ 35 % lack that image: counted as 0 they would make the lower end 0.
    assert (found.low, found.high) == pytest.approx((25, 25))
    assert shared_deviation([(one, other), (one, other)]) == pytest.approx(0)
    with pytest.raises(RecordError, match="no class of the group is labelled in the test images of network"):
        resampled(np.zeros((3, 3, 5)), group)


def test_same_seed_same_interval_and_swapped_methods_swapped_signs() -> None:
    a, b = (resampled(counts(25, 3, q)) for q in (0.9, 0.5))
    found, turned = paired_interval(a, b), paired_interval(b, a)
    assert found == paired_interval(resampled(counts(25, 3, 0.9)), b) and found.low > 0
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    same = paired_interval(a, a)
    assert (same.low, same.high, same.difference) == (0, 0, 0)


def test_coverage() -> None:
    # Test sets of 60 images drawn from a large population: about 95 % of the intervals hold its difference.
    a, b = counts(3000, 4, 0.72), counts(3000, 4, 0.68)
    true = float(mean_iou(a.sum(axis=0).astype(float), ALL) - mean_iou(b.sum(axis=0).astype(float), ALL))
    generator = np.random.default_rng(6)
    held = 0
    for trial in range(200):
        rows = generator.choice(3000, 60)
        found = paired_interval(*(resampled(x[rows], resamples=300, seed=trial) for x in (a, b)))
        held += found.low <= true <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_what_seeds_share_by_the_choice_of_images() -> None:
    """Two seeds with the same weakness share it; what is each network's own is in their spread already."""
    generator = np.random.default_rng(0)
    labelled = np.full((400, 5), 1000)
    weak = generator.normal(0, 0.8, (400, 5))

    def network(own: float, common: float) -> Resampled:
        right = 1 / (1 + np.exp(-1 - common * weak - own * generator.normal(size=(400, 5))))
        hits = generator.binomial(labelled, right)
        return resampled(np.stack([hits, 0 * hits, labelled - hits], axis=1))

    alike = [(network(0.0, 1.0), network(0.0, 0.0)) for _ in range(3)]
    alone = float(np.std(alike[0][0].draws - alike[0][1].draws))
    assert shared_deviation(alike) == pytest.approx(alone, rel=0.1)
    unlike = [(network(0.8, 0.0), network(0.0, 0.0)) for _ in range(3)]
    assert shared_deviation(unlike) < 0.4 * alone
    with pytest.raises(RecordError, match="not tested on the same images"):
        shared_deviation(alike[:1])


def test_runs_without_counts_of_images_say_what_to_do(tmp_path: Path) -> None:
    run = write(tmp_path, "gsc", counts())
    bare = write(tmp_path, "bare", counts(), evaluations={})
    imported = Run(run.path, as_imported(run.record))
    elsewhere = {"confusion": {"name": NAME, "images": "steps/none.npz"}}
    lost = write(tmp_path, "lost", counts(), evaluations=elsewhere)
    wrong = write(tmp_path, "wrong", counts(), counts=totals(counts(seed=1)))
    broken = write(tmp_path, "broken", counts())
    images_of(broken).write_bytes(b"PK half")
    empty = write(tmp_path, "empty", counts())
    images_of(empty).write_bytes(b"")
    newer = write(tmp_path, "newer", counts())
    write_arrays(images_of(newer), pack(counts()) | {"format": np.array(9)})
    seal(images_of(newer), newer.last["key"])
    altered = write(tmp_path, "altered", counts())
    write_arrays(images_of(altered), pack(counts()[[1, 0, *range(2, 40)]]))  # the same sums
    foreign = write(tmp_path, "foreign", counts())
    seal(images_of(foreign), "another step")
    for other, words in (
        (bare, "has no counts of single images: .*`bench run` makes it, and trains nothing"),
        (imported, "imported"),
        (lost, r"none\.npz, .* is missing: the same `bench run`"),
        (wrong, "does not add up to the counts in the record of wrong"),
        (broken, "cannot be read .*remove it"),
        (empty, "cannot be read .*remove it"),
        (newer, "format 9, this version reads 1"),
        (altered, "does not have the checksum .*remove it"),
        (foreign, "belongs to another step"),
    ):
        with pytest.raises(RecordError, match=words) as info:
            between(run, other)
        assert info.value.exit_code == 2


def test_runs_tested_on_different_images_are_not_paired(tmp_path: Path) -> None:
    one = write(tmp_path, "gsc", counts())
    file = f"steps/plop/{NAME}.npz"
    elsewhere = {"confusion": {"name": "evaluation-def", "images": file}}
    other = write(tmp_path, "plop", counts(), evaluations=elsewhere)
    with pytest.raises(RecordError, match="tested on different images"):
        between(one, other)
    with pytest.raises(RecordError, match="has no group '1-2'; it has base, new, all, 0-2, 3-4"):
        between(one, one, "1-2")
