"""One run in text: its facts, its steps, its classes."""

from __future__ import annotations

from pathlib import Path

from made_records import DATA, ENVIRONMENT, one_record

from issbench.results.record import Score
from issbench.results.runs import Run
from issbench.results.show import class_table, run_summary, step_table
from issbench.results.table import MISSING

IOU: list[list[Score]] = [[90.0, 60.0, 50.0], [88.0, 40.0, None, 30.0], [85.0, 35.5, None, 25.0, 20.0]]
SCORES: list[dict[str, Score]] = [
    {"0-2": 66.66, "3-4": None, "all": 66.66},
    {"0-2": 64.0, "3-4": 30.0, "all": 52.67},
    {"0-2": 60.25, "3-4": 22.5, "all": 41.4},
]


def run(complete: bool = True) -> Run:
    record = one_record(
        "gsc:sg=off", "shapes_2-1", seed=3, classes=["disk", "ring", "star", "cross"], scores=SCORES,
        recipe={"lr": 0.5}, forgetting=[5.0, 24.5, None, 5.0, 0.0], complete=complete,
    )  # fmt: skip
    for step in record["steps"]:
        index, training = step["step"], step["training"]
        assert training is not None
        step["metrics"] |= {"iou": IOU[index], "pixel_accuracy": 80.0 + index}
        step["key"] = f"key{index}"
        training |= {"seconds": 10.4, "train_images": 100 - index, "device": "cpu"}
        training["peak_memory_bytes"] = 2**30 if index else 3 * 2**30
        training["environment"] = {**ENVIRONMENT, "threads": 1 if index else 2}
    return Run(Path("/out/runs/shapes_2-1-x"), record)


def test_summary() -> None:
    facts = dict(run_summary(run()))
    assert facts["run"] == "shapes_2-1-x"
    assert facts["method"] == "gsc:sg=off"
    assert facts["options"] == "pr=on, sg=off, sr=on, sc=on, lambda1=0.3, lambda2=0.1"  # the defaults, too
    assert facts["scenario"] == "shapes_2-1, overlapped, order natural"
    assert facts["classes"] == "disk, ring, star, cross"
    assert facts["data"] == DATA
    assert facts["seed"] == "3"
    assert "lr=0.5" in facts["recipe"] and "precision=fp32" in facts["recipe"]  # what `auto` became
    assert facts["evaluation"].startswith("protocol plop: void pixels")
    assert facts["finished"] == "yes"
    assert facts["training time"].startswith("31 s")
    assert facts["peak memory"] == "3.00 GiB on cpu"
    assert dict(run_summary(run(complete=False)))["finished"] == "no: unfinished, 2 of 3 steps done"


def test_summary_of_the_environment() -> None:
    facts = dict(run_summary(run()))
    assert facts["versions"] == "python 3.11, torch 2.6, issbench 0.2.0"
    assert (facts["git"], facts["cpu"], facts["gpu"]) == ("abc1234", "EPYC 7763", "H100")
    assert facts["threads"] == "2 and 1"  # the first step was made otherwise
    assert (facts["deterministic"], facts["precision"]) == ("yes", "fp32")


def test_steps() -> None:
    table = step_table(run())
    assert table.header == ["step", "0-2", "3-4", "all", "hIoU", "pixel accuracy", "train images", "seconds", "key"]
    assert table.rows == [
        ["0", "66.7", MISSING, "66.7", MISSING, "80.0", "100", "10", "key0"],
        ["1", "64.0", "30.0", "52.7", "40.9", "81.0", "99", "10", "key1"],
        ["2", "60.2", "22.5", "41.4", "32.8", "82.0", "98", "10", "key2"],
    ]


def test_classes_and_what_was_forgotten() -> None:
    table = class_table(run())
    assert table.header == ["class", "step 0", "step 1", "step 2", "forgotten"]
    assert table.rows == [
        ["background", "90.0", "88.0", "85.0", "5.0"],
        ["disk", "60.0", "40.0", "35.5", "24.5"],
        ["ring", "50.0", MISSING, MISSING, MISSING],
        ["star", MISSING, "30.0", "25.0", "5.0"],
        ["cross", MISSING, MISSING, "20.0", MISSING],  # only just learned
    ]
    assert "classes of the last step have had no time to be forgotten" in table.notes[0]


def test_an_unfinished_run_shows_what_it_has() -> None:
    table = class_table(run(complete=False))
    assert [cells[0] for cells in table.rows] == ["background", "disk", "ring", "star"]
    assert {cells[-1] for cells in table.rows} == {MISSING}
    assert len(step_table(run(complete=False)).rows) == 2
