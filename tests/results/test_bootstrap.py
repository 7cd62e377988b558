"""Counts of single images, and intervals of mIoU differences from them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from issbench.bench.metrics import Context, merge, metrics_for, step_values
from issbench.results.bootstrap import Interval, interval, paired_interval
from issbench.results.counts import pack
from issbench.results.image_counts import Group, ImageCounts, group_of, load_image_counts, mean_iou
from issbench.results.runs import RecordError, Run, load_run
from issbench.scenarios.protocol import PROTOCOLS

SPANS = {
    "named": {"base": [0, 2], "new": [3, 4], "all": [0, 4]},
    "printed": {"0-2": [0, 2], "3-4": [3, 4], "all": [0, 4]},
}
ALL = Group(0, 4, False)
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
    np.savez_compressed(out / file, **pack(images))
    found = totals(images)
    spans = {kind: {name: tuple(span) for name, span in groups.items()} for kind, groups in SPANS.items()}
    step = {
        "step": 1,
        **step_values(METRICS, {"confusion": found}, Context(spans, PROTOCOLS[protocol].absent == "zero", 2)),
        "counts": found,
        "evaluation": {"name": NAME, "images": file},
        "recipe": {"precision": "fp32"},
    }
    record = {
        "format": 2,
        "source": None,
        "experiment": {
            "method": method, "scenario": "voc_2-2", "setting": "overlapped", "order": "natural", "classes": [],
            "seed": 0, "protocol": dataclasses.asdict(PROTOCOLS[protocol]), "recipe": {"lr": 0.1}, "data": None,
        },
        "group_spans": SPANS,
        "complete": True,
        "steps": [step | changed],
    }  # fmt: skip
    folder = out / "runs" / method
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record))
    return load_run(out, method)


@pytest.mark.parametrize("protocol", ["plop", "ssul"])
def test_point_estimates_are_those_of_the_record(tmp_path: Path, protocol: str) -> None:
    images = counts()
    images[:, 0, 2] = images[:, 2, 2] = 0  # class 2 is predicted, and never there
    run = write(tmp_path, "gsc", images, protocol)
    stored = load_image_counts(run)
    assert stored.evaluation == NAME and stored.counts.tolist() == images.tolist()
    for name in ("base", "new", "all", "0-2", "3-4"):
        expected = (run.last["miou"] | run.last["groups"])[name]
        assert mean_iou(stored.counts.sum(axis=0), group_of(run, name)) == pytest.approx(expected, abs=1e-12)
    other = write(tmp_path, "plop", counts(quality=0.5), protocol)
    found = paired_interval(run, other)
    assert found.a == pytest.approx(run.last["miou"]["all"]) and found.b == pytest.approx(other.last["miou"]["all"])


def test_mean_iou_by_hand() -> None:
    table = np.array([[60, 10, 30, 0.0, 0], [20, 10, 0, 5.0, 0], [20, 0, 10, 0.0, 0]])
    assert mean_iou(table, ALL) == pytest.approx((60 + 50 + 75) / 3)
    assert mean_iou(table, Group(0, 4, True)) == pytest.approx((60 + 50 + 75) / 5)
    assert mean_iou(table, Group(1, 1, False)) == pytest.approx(50)
    assert np.isnan(mean_iou(table, Group(3, 4, False)))
    assert mean_iou(table, Group(3, 4, True)) == 0


def resampled(a: np.ndarray, b: np.ndarray, group: Group, resamples: int, seed: int) -> np.ndarray:
    """The differences image by image, as a loop."""
    generator = np.random.Generator(np.random.PCG64(seed))
    found = []
    for drawn in generator.integers(len(a), size=(resamples, len(a))):
        one, other = (mean_iou(x[drawn].sum(axis=0).astype(float), group) for x in (a, b))
        found.append(one - other)
    return np.array(found)


def test_interval_is_that_of_a_loop_over_resamples() -> None:
    a, b = counts(30, 1, 0.8), counts(30, 1, 0.7)
    expected = resampled(a, b, Group(1, 4, False), 200, seed=5)
    found = interval(
        ImageCounts(NAME, a.astype(float)), ImageCounts(NAME, b.astype(float)), Group(1, 4, False), "1-4",
        level=0.9, resamples=200, seed=5,
    )  # fmt: skip
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(expected, [0.05, 0.95])))
    assert found.images == 30 and found.undefined == 0


def test_resamples_without_the_group_are_left_out_and_counted() -> None:
    a = counts(12, 2)
    a[1:, :, 4] = 0
    a[0, :, 4] = 50, 0, 50  # class 4 is in one image of twelve
    b = a.copy()
    b[0, :, 4] = 25, 0, 75
    one, other = (ImageCounts(NAME, x.astype(float)) for x in (a, b))
    found = interval(one, other, Group(4, 4, False), "4", level=0.95, resamples=1000, seed=0)
    assert found.undefined == pytest.approx(1000 * (11 / 12) ** 12, rel=0.15)
    assert (found.low, found.high) == pytest.approx((25, 25))
    with pytest.raises(RecordError, match="group 4 has no labelled class"):
        empty = ImageCounts(NAME, np.zeros((3, 3, 5)))
        interval(empty, empty, Group(4, 4, False), "4", level=0.95, resamples=10, seed=0)


def test_same_seed_same_interval_and_swapped_methods_swapped_signs() -> None:
    a, b = (ImageCounts(NAME, counts(25, 3, q).astype(float)) for q in (0.9, 0.5))
    how = {"level": 0.95, "resamples": 300, "seed": 1}
    found = interval(a, b, ALL, "all", **how)
    assert found == interval(a, b, ALL, "all", **how)
    turned = interval(b, a, ALL, "all", **how)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert found.significant and found.low > 0
    same = interval(a, a, ALL, "all", **how)
    assert (same.low, same.high, same.significant) == (0, 0, False)


def test_coverage() -> None:
    # Test sets of 60 images drawn from a large population: about 95 % of the intervals hold its difference.
    a, b = counts(3000, 4, 0.72), counts(3000, 4, 0.68)
    true = float(mean_iou(a.sum(axis=0).astype(float), ALL) - mean_iou(b.sum(axis=0).astype(float), ALL))
    generator = np.random.default_rng(6)
    held = 0
    for trial in range(200):
        rows = generator.choice(3000, 60)
        one, other = (ImageCounts(NAME, x[rows].astype(float)) for x in (a, b))
        found = interval(one, other, ALL, "all", level=0.95, resamples=300, seed=trial)
        held += found.low <= true <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_sentences() -> None:
    found = Interval("all", 50.0, 48.0, 0.5, 3.5, 0.95, 1449, 1000)
    assert "gsc is better than plop (+2.00 points" in found.sentence("gsc", "plop")
    assert "95% interval +0.50 to +3.50 over 1449 test images excludes 0" in found.sentence("gsc", "plop")
    worse = dataclasses.replace(found, a=46.0, low=-3.5, high=-0.5)
    assert "plop is better than gsc (-2.00 points" in worse.sentence("gsc", "plop")
    unclear = dataclasses.replace(found, low=-0.5)
    assert "cannot be told apart" in unclear.sentence("gsc", "plop") and "includes 0" in unclear.sentence("a", "b")


def test_runs_without_counts_of_images_say_what_to_do(tmp_path: Path) -> None:
    run = write(tmp_path, "gsc", counts())
    old = write(tmp_path, "old", counts(), evaluation=None)
    imported = Run(run.path, run.record | {"source": {"format": "plop", "file": "a.csv"}})
    lost = write(tmp_path, "lost", counts(), evaluation={"name": NAME, "images": "steps/none.npz"})
    wrong = write(tmp_path, "wrong", counts(), counts=totals(counts(seed=1)))
    broken = write(tmp_path, "broken", counts())
    (tmp_path / broken.last["evaluation"]["images"]).write_bytes(b"PK half")
    empty = write(tmp_path, "empty", counts())
    (tmp_path / empty.last["evaluation"]["images"]).write_bytes(b"")
    newer = write(tmp_path, "newer", counts())
    path = tmp_path / newer.last["evaluation"]["images"]
    np.savez_compressed(path, **pack(counts()) | {"format": np.array(9)})
    for other, words in (
        (old, "older version, .*`bench run` makes it, and trains nothing"),
        (imported, "imported"),
        (lost, r"none\.npz, .* is missing: the same `bench run`"),
        (wrong, "does not add up to the counts in the record of wrong"),
        (broken, "cannot be read .*remove it"),
        (empty, "cannot be read .*remove it"),
        (newer, "format 9, this version reads 1"),
    ):
        with pytest.raises(RecordError, match=words) as info:
            paired_interval(run, other)
        assert info.value.exit_code == 2


def test_runs_tested_on_different_images_are_not_paired(tmp_path: Path) -> None:
    one = write(tmp_path, "gsc", counts())
    other = write(tmp_path, "plop", counts())
    other.last["evaluation"]["name"] = "evaluation-def"
    with pytest.raises(RecordError, match="tested on different images"):
        paired_interval(one, other)
    with pytest.raises(RecordError, match="has no group '1-2'; it has base, new, all, 0-2, 3-4"):
        paired_interval(one, one, "1-2")
