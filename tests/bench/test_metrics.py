"""The metrics: what follows from counts after a step and after a run, and those of other packages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from issbench.bench.metrics import Context, available, counters, merge, metrics_for, run_values, step_values
from issbench.bench.metrics.boundary_iou import BoundaryIoU, near_boundary
from issbench.bench.metrics.confusion import Confusion
from issbench.errors import UsageError

GROUPS = {
    "named": {"base": (0, 1), "new": (2, 3), "all": (0, 3)},
    "printed": {"0-1": (0, 1), "2-3": (2, 3), "all": (0, 3)},
}
SKIP, ZERO = (Context(GROUPS, absent_is_zero=zero, num_steps=3) for zero in (False, True))
COUNTS = {"tp": [60, 10, 30, 0], "fp": [20, 10, 0, 0], "fn": [20, 0, 10, 0]}


def values(counts: Mapping[str, Sequence[int]], context: Context = SKIP) -> dict[str, Any]:
    """What the usual metrics give after a step."""
    return step_values(metrics_for(()), {"confusion": counts}, context)


def summary(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the usual metrics give of a whole run."""
    return run_values(metrics_for(()), [{"step": index, "metrics": step} for index, step in enumerate(steps)], SKIP)


# After a step


def test_names_of_the_values() -> None:
    assert list(values(COUNTS)) == ["iou", "miou", "groups", "pixel_accuracy", "hiou"]
    assert json.loads(json.dumps(values(COUNTS))) == values(COUNTS)


def test_iou_and_the_means_of_groups() -> None:
    found = values(COUNTS)
    assert found["iou"] == pytest.approx([60, 50, 75, None])
    assert found["miou"] == pytest.approx({"base": 55, "new": 75, "all": 185 / 3})
    assert found["groups"] == pytest.approx({"0-1": 55, "2-3": 75, "all": 185 / 3})
    assert found["pixel_accuracy"] == pytest.approx(100 * 100 / 130)


def test_an_absent_class_counts_zero_where_the_protocol_says_so() -> None:
    found = values(COUNTS, ZERO)
    assert found["iou"][3] is None
    assert found["groups"] == pytest.approx({"0-1": 55, "2-3": 37.5, "all": 185 / 4})


def test_a_class_that_is_only_predicted_is_absent_too() -> None:
    counts = COUNTS | {"fp": [20, 10, 0, 5]}
    assert values(counts)["iou"][3] is None
    assert values(counts)["groups"]["2-3"] == pytest.approx(75)
    assert values(counts, ZERO)["groups"]["2-3"] == pytest.approx(37.5)


@pytest.mark.parametrize("context", [SKIP, ZERO])
def test_classes_to_come_have_no_part_in_a_mean(context: Context) -> None:
    counts = {name: counted[:2] for name, counted in COUNTS.items()}
    found = values(counts, context)
    assert found["iou"] == pytest.approx([60, 50])
    assert found["groups"] == pytest.approx({"0-1": 55, "2-3": None, "all": 55})
    assert found["hiou"] is None


def test_nothing_labelled_has_no_accuracy() -> None:
    found = values({name: [0, 0, 0, 0] for name in COUNTS})
    assert found["iou"] == [None] * 4
    assert found["groups"] == {"0-1": None, "2-3": None, "all": None}
    assert found["pixel_accuracy"] is None and found["hiou"] is None


def test_harmonic_mean_of_base_and_new_classes() -> None:
    assert values(COUNTS)["hiou"] == pytest.approx(2 * 55 * 75 / (55 + 75))
    for lost in (slice(0, 2), slice(2, 4)):
        counts = {name: list(counted) for name, counted in COUNTS.items()}
        counts["tp"][lost] = [0, 0]
        counts["fn"][lost] = [9, 9]
        assert values(counts)["hiou"] == 0
    both = {"tp": [0] * 4, "fp": [1] * 4, "fn": [1] * 4}
    assert values(both)["hiou"] == 0


def test_a_domain_incremental_run_has_no_new_classes() -> None:
    everything = {"all": (0, 3)}
    found = values(COUNTS, Context({"named": everything, "printed": everything}, False, 2))
    assert found["miou"] == found["groups"] == pytest.approx({"all": 185 / 3})
    assert found["hiou"] is None


# After a run


def step(*iou: float | None, all_classes: float | None = None) -> dict[str, Any]:
    """What summaries read of a step."""
    return {"iou": list(iou), "miou": {"all": all_classes}}


def test_forgetting_is_measured_from_the_first_evaluation_of_a_class() -> None:
    steps = [step(90.0, 80.0), step(70.0, 85.0, 40.0), step(60.0, None, 45.0, 30.0)]
    assert summary(steps)["forgetting"] == [30, None, -5, 0]
    assert summary([step(None, 80.0), *steps[1:]])["forgetting"] == [None, None, -5, 0]
    # a method that trains the first and the last step only
    assert summary([steps[0], steps[2]])["forgetting"] == [30, None, 0, 0]


def test_a_class_without_a_labelled_pixel_is_in_no_mean_of_forgetting() -> None:
    """Class 2 is predicted after step 0 and no longer at the end: nothing was lost, since nothing was known."""
    before = {"tp": [90, 60, 0], "fp": [0, 0, 8], "fn": [10, 40, 0]}
    after = {"tp": [60, 45, 0, 5], "fp": [0, 0, 0, 5], "fn": [40, 55, 0, 0]}
    context = Context({"named": {"all": (0, 2)}, "printed": {"all": (0, 2)}}, False, 2)
    assert summary([values(counts, context) for counts in (before, after)])["forgetting"] == [30, 15, None, 0]


def test_mean_over_steps() -> None:
    steps = [step(50.0, all_classes=mean) for mean in (70.0, 50.0, 30.0)]
    assert summary(steps)["mean_over_steps"] == pytest.approx(50)
    assert summary([steps[0], steps[2]])["mean_over_steps"] is None  # a step was skipped
    assert summary([*steps[:2], step(50.0)])["mean_over_steps"] is None


# Boundary IoU


def reference(prediction: np.ndarray, target: np.ndarray, num_classes: int, d: int) -> np.ndarray:
    """Counts `[3, num_classes]` of one image, class by class as in the authors' code: a mask without what is left
    of it after d erosions by 3 × 3 pixels, with nothing outside the image."""
    found = np.zeros((3, num_classes), int)
    known = target < num_classes
    for label in range(num_classes):
        truth, predicted = (known & (classes == label) for classes in (target, prediction))
        edges = [m & ~binary_erosion(m, np.ones((3, 3)), d, border_value=0) for m in (truth, predicted)]
        found[:, label] = (edges[0] & edges[1]).sum(), (edges[1] & ~edges[0]).sum(), (edges[0] & ~edges[1]).sum()
    return found


def blobs(seed: int, shape: tuple[int, int], labels: Sequence[int]) -> np.ndarray:
    """A map of rectangles."""
    draw = np.random.default_rng(seed)
    found = np.zeros(shape, np.int64)
    for _ in range(14):
        top, left = (int(draw.integers(0, size)) for size in shape)
        height, width = (int(draw.integers(1, size // 2)) for size in shape)
        found[top : top + height, left : left + width] = draw.choice(labels)
    return found


@pytest.mark.parametrize(("shape", "d"), [((60, 80), 2), ((17, 9), 1), ((150, 200), 5), ((5, 4), 1)])
def test_boundary_counts_agree_with_erosions_class_by_class(shape: tuple[int, int], d: int) -> None:
    target = np.stack([blobs(seed, shape, [0, 1, 2, 3, 255]) for seed in range(3)])
    prediction = np.stack([blobs(seed, shape, [0, 1, 2]) for seed in (0, 11, 12)])
    found = BoundaryIoU().count(torch.from_numpy(prediction), torch.from_numpy(target), 3)
    assert (found.dtype, found.shape) == (torch.int32, (3, 3, 3))
    expected = [reference(p, t, 3, d) for p, t in zip(prediction, target, strict=True)]
    assert found.tolist() == np.array(expected).tolist()
    assert found[:, 0].sum() > 0 and found[:, 1:].sum() > 0


def test_width_of_the_boundary() -> None:
    """2 % of the diagonal, and at least one pixel."""
    for side, d in ((10, 1), (100, 3), (512, 14)):
        inside = (~near_boundary(torch.zeros(1, side, side, dtype=torch.long))).sum().item()
        assert inside == (side - 2 * d) ** 2


def test_what_is_predicted_at_ignored_pixels_changes_nothing() -> None:
    target = torch.from_numpy(blobs(0, (60, 80), [1, 2, 255]))[None]
    first = torch.from_numpy(blobs(1, (60, 80), [1, 2]))[None]
    second = first.where(target != 255, torch.from_numpy(blobs(2, (60, 80), [0, 1, 2]))[None])
    counts = [BoundaryIoU().count(prediction, target, 3) for prediction in (first, second)]
    assert not torch.equal(first, second) and torch.equal(*counts)
    right = target.where(target != 255, first)
    perfect = BoundaryIoU().count(right, target, 3)
    assert perfect[0, 0].sum() > 0 and perfect[0, 1:].sum() == 0


def test_boundary_iou_is_more_sensitive_than_iou() -> None:
    """A mask that is one pixel too large on each side, of 100 × 100 pixels in 200 × 200 (d = 6)."""
    target, prediction = torch.zeros(2, 1, 200, 200, dtype=torch.long)
    target[:, 50:150, 50:150] = 1
    prediction[:, 49:151, 49:151] = 1
    metrics = metrics_for(["boundary-iou"])
    counts = {metric.counts: metric.count(prediction, target, 2).numpy() for metric in metrics if metric.counts}
    context = Context({"named": {"all": (0, 1)}, "printed": {"0-1": (0, 1)}}, False, 1)
    found = step_values(metrics, merge(metrics, counts), context)
    assert found["iou"][1] == pytest.approx(100 * 100**2 / 102**2)
    both, either = 100**2 - 90**2, 102**2 - 88**2  # rings of 6 and 5 pixels, and of 6 more than the other's inside
    assert found["boundary_iou"]["iou"][1] == pytest.approx(100 * both / either)
    assert found["boundary_iou"]["miou"]["all"] == pytest.approx(np.mean(found["boundary_iou"]["iou"]))
    assert found["boundary_iou"]["groups"] == {"0-1": found["boundary_iou"]["miou"]["all"]}


# Which metrics there are


def test_the_usual_metrics_and_those_asked_for() -> None:
    usual = ["iou", "pixel-accuracy", "hiou", "mean-over-steps", "forgetting"]
    assert [metric.name for metric in metrics_for(())] == usual
    assert [metric.name for metric in metrics_for(["boundary-iou", "iou"])] == [*usual, "boundary-iou"]
    assert all(name == kind.name for name, kind in available().items())
    assert counters(metrics_for(["boundary-iou"])) == {"confusion": Confusion, "boundary": BoundaryIoU}


def test_unknown_metric() -> None:
    with pytest.raises(UsageError, match="unknown metric 'boundary_iou'; did you mean boundary-iou") as info:
        metrics_for(["boundary_iou"])
    assert info.value.exit_code == 2


THEIRS = '''
from issbench.bench.metrics.metric import Metric


class Heir(WorstClass):
    """Has a value of the whole run, too."""

    name = "heir"

    def summary(self, steps, context):
        return {"worst_ever": min(step["worst_class"] for step in steps)}


class Top(Metric):
    """Counts the upper half of the image alone."""

    name = "top"
    counts = "top"

    def count(self, prediction, target, num_classes):
        half = target.shape[1] // 2
        return Confusion().count(prediction[:, :half], target[:, :half], num_classes)

    def values(self, counts, context):
        return {"top": sum(counts["tp"])}


class Other(Top):
    """Counts otherwise under a name that is taken."""

    name = "other"
    counts = "confusion"
    opt_in = True


class Thief(Confusion):
    name = "iou"
'''
ENTRIES = """
[issbench.metrics]
worst-class = their_metrics:WorstClass
heir = their_metrics:Heir
top = their_metrics:Top
other = their_metrics:Other
iou = their_metrics:Thief
"""
MEASURE = """
import json, sys
from issbench.bench.metrics import Context, merge, metrics_for, run_values, step_values
from issbench.errors import UsageError
assert "torch" not in sys.modules
import torch
metrics = metrics_for(sys.argv[1:])
target = torch.tensor([[[0, 0], [0, 1]]])
prediction = torch.tensor([[[0, 1], [0, 1]]])
counts = {metric.counts: metric.count(prediction, target, 2).numpy() for metric in metrics if metric.counts}
context = Context({"named": {"all": (0, 1)}, "printed": {"all": (0, 1)}}, False, 1)
step = step_values(metrics, merge(metrics, counts), context)
print(json.dumps([step, run_values(metrics, [{"metrics": step}], context)]))
try:
    metrics_for(["other"])
except UsageError as error:
    print(error)
"""


def test_metrics_of_other_packages(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"`issbench\.metrics`:\n\n```python\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "their_metrics.py").write_text(example + THEIRS)
    meta = tmp_path / "their_metrics-1.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: their_metrics\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(ENTRIES)
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))

    def measured(*asked: str) -> tuple[dict[str, Any], dict[str, Any], str]:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *asked],
            capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": paths},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        values, refused = done.stdout.splitlines()
        return (*json.loads(values), refused)

    found, run, refused = measured()
    assert found["iou"] == pytest.approx([200 / 3, 50])  # a built-in metric cannot be replaced
    assert found["top"] == 1 and "worst_class" not in found and "worst_ever" not in run
    assert "metric other counts otherwise under the name 'confusion'" in refused
    found, run, _ = measured("worst-class")
    assert found["worst_class"] == pytest.approx(50) and "worst_ever" not in run
    found, run, _ = measured("heir")
    assert found["worst_class"] == run["worst_ever"] == pytest.approx(50)
