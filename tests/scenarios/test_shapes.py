"""issbench.scenarios.datasets.shapes: the same scenes everywhere, and scenes that are worth learning."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from issbench.scenarios.datasets import shapes
from issbench.scenarios.datasets.base import IGNORE
from issbench.scenarios.datasets.shapes import Shapes
from issbench.scenarios.errors import ScenarioError
from issbench.scenarios.presence import presence as scan

# Drawing is elementary arithmetic only, so this holds on every machine. Raise VERSION when you change it.
DIGEST = "c01f7207a9e9ef24"
LABELS = range(1, len(Shapes.classes) + 1)


def digest():
    shapes = Shapes(domains=True)
    samples = [f"train/{domain}/{i:05}" for domain in shapes.domains for i in range(8)]
    parts = [part for s in samples for part in (shapes.image(s).tobytes(), shapes.label(s).tobytes())]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@pytest.fixture(scope="module")
def day():
    return Shapes()


@pytest.fixture(scope="module")
def lit():
    return Shapes(domains=True)


def images(dataset, samples):
    return np.stack([np.asarray(dataset.image(sample)) for sample in samples])


def labels(dataset, samples):
    return np.stack([dataset.label(sample) for sample in samples])


def presence(maps):
    """Whether each image holds each class: [images, classes]."""
    return np.stack([(maps == label).any(axis=(1, 2)) for label in LABELS], axis=1)


def object_colours(dataset, samples):
    """Mean colour in 0 … 1 and label of every object."""
    pairs = [
        (image[where].mean(axis=0) / 255, label)
        for image, labels_ in zip(images(dataset, samples), labels(dataset, samples), strict=True)
        for label in LABELS
        if (where := labels_ == label).any()
    ]
    colours, targets = zip(*pairs, strict=True)
    return np.stack(colours), np.array(targets)


def test_pixels_are_the_same_everywhere():
    code = "import test_shapes; print(test_shapes.digest())"
    other = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[2]}", "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert digest() == other == DIGEST


def test_a_fresh_instance_draws_the_same_in_any_order(day):
    samples = day.ids("train")[:10]
    fresh = Shapes("/ignored")
    backwards = {sample: (np.asarray(fresh.image(sample)), fresh.label(sample)) for sample in samples[::-1]}
    for sample in samples:
        assert np.array_equal(backwards[sample][0], np.asarray(day.image(sample)))
        assert np.array_equal(backwards[sample][1], day.label(sample))


def test_a_scene_does_not_depend_on_the_split_lists(day, lit):
    assert lit.label("train/day/00003").tobytes() == day.label("train/day/00003").tobytes()


def test_lists(day, lit):
    assert (len(day.ids("train")), len(day.ids("test"))) == (1000, 200)
    assert (len(lit.ids("train")), len(lit.ids("test"))) == (5 * 250, 5 * 60)
    assert day.ids("train")[12] == "train/day/00012"
    for dataset in (day, lit):
        both = dataset.ids("train") + dataset.ids("test")
        assert len(set(both)) == len(both)


def test_train_and_test_scenes_differ(day):
    train, test = (images(day, day.ids(split)[:200]) for split in ("train", "test"))
    drawings = {image.tobytes() for image in np.concatenate([train, test])}
    assert len(drawings) == 400


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_hold_several_classes_and_every_class_is_frequent(day, split):
    maps = labels(day, day.ids(split)[:200])
    assert maps.dtype == np.uint8 and maps.shape[1:] == (64, 64)
    assert set(np.unique(maps)) == {0, *LABELS, IGNORE}
    held = presence(maps)
    assert held.mean(axis=0).min() > 0.25
    assert (held.sum(axis=1) >= 2).mean() > 0.95
    # background shift: most images of a step of one class also hold a class of another step
    assert all((held[held[:, i]].sum(axis=1) >= 2).mean() > 0.95 for i in range(len(LABELS)))


def test_what_is_present_is_visible(day):
    maps = labels(day, day.ids("train")[:300])
    areas = np.stack([(maps == label).sum(axis=(1, 2)) for label in LABELS])
    assert areas[areas > 0].min() > 80


def test_a_thin_void_border_surrounds_objects(day):
    maps = labels(day, day.ids("train")[:50])
    assert 0.02 < (maps == IGNORE).mean() < 0.12
    # no object touches the background or another object
    for a, b in ((maps[:, 1:], maps[:, :-1]), (maps[:, :, 1:], maps[:, :, :-1])):
        assert ((a == b) | (a == IGNORE) | (b == IGNORE)).all()


def test_mean_colour_does_not_give_the_class(day):
    colours, targets = object_colours(day, day.ids("train")[:500])
    test_colours, test_targets = object_colours(day, day.ids("test"))
    means = np.stack([colours[targets == label].mean(axis=0) for label in LABELS])

    def distances(points):
        return ((test_colours[:, None] - points) ** 2).sum(axis=2)

    nearest_mean = 1 + distances(means).argmin(axis=1)
    neighbours = targets[np.argsort(distances(colours), axis=1)[:, :25]]
    vote = 1 + np.stack([(neighbours == label).sum(axis=1) for label in LABELS]).argmax(axis=0)
    for predicted in (nearest_mean, vote):
        assert (predicted == test_targets).mean() < 2 / len(LABELS)  # chance is 1 / 8


def test_domains_change_the_light_and_keep_the_labels(lit):
    statistics = {}
    for domain in lit.domains:
        samples = [sample for sample in lit.ids("train") if lit.domain(sample) == domain]
        assert len(samples) == 250
        pixels = images(lit, samples[:40]) / 255
        statistics[domain] = np.concatenate([pixels.mean(axis=(0, 1, 2)), pixels.std(axis=(0, 1, 2))])
        maps = labels(lit, samples[:40])
        assert set(np.unique(maps)) == {0, *LABELS, IGNORE}
        assert presence(maps).sum(axis=1).mean() > 2
    values = list(statistics.values())
    gaps = [np.abs(a - b).max() for i, a in enumerate(values) for b in values[:i]]
    assert min(gaps) > 0.05


def test_domains_are_seen_only_when_asked_for(day, lit):
    assert day.domains == () and lit.domains == ("day", "dusk", "night", "fog", "neon")
    assert lit.domain("test/fog/00003") == "fog"
    assert list(dict.fromkeys(map(lit.domain, lit.ids("train")))) == list(lit.domains)
    assert day.with_domains().ids("test") == lit.ids("test") and lit.with_domains() is lit
    with pytest.raises(ScenarioError, match="no domains"):
        day.domain("train/day/00000")


def test_callers_cannot_corrupt_the_cache(day):
    sample = day.ids("test")[0]
    image, label = np.asarray(day.image(sample)).copy(), day.label(sample)
    kept = label.copy()
    label[:] = 7
    day.image(sample).putpixel((0, 0), tuple(255 - int(v) for v in image[0, 0]))
    assert np.array_equal(day.label(sample), kept)
    assert np.array_equal(np.asarray(day.image(sample)), image)


def test_image_and_label_share_one_drawing(monkeypatch):
    drawn = []
    draw = shapes._draw
    monkeypatch.setattr(shapes, "_draw", lambda *key: drawn.append(key) or draw(*key))
    dataset = Shapes()
    for _ in range(2):
        dataset.image("train/day/00000")
        dataset.label("train/day/00000")
    assert drawn == [("train", "day", 0)]


def test_unknown_samples_are_named(day):
    for sample in ("train/day/01000", "train/night/00000", "nonsense"):
        with pytest.raises(ScenarioError, match="unknown sample"):
            day.image(sample)


def test_fingerprints_follow_the_scenes_and_their_version(monkeypatch, tmp_path):
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path))
    drawn = []
    draw = shapes._draw
    monkeypatch.setattr(shapes, "_draw", lambda *key: drawn.append(key) or draw(*key))
    first = scan(Shapes(), "test")
    assert len(set(first.images)) == len(set(first.labels)) == len(drawn) == 200
    again = scan(Shapes(), "test")
    assert (again.images, again.labels, len(drawn)) == (first.images, first.labels, 200)  # no scene is drawn again
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(shapes, "VERSION", 2)
    assert not set(scan(Shapes(), "test").images) & set(first.images)
