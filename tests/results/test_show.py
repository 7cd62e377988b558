"""One run in text: its facts, its steps, its classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from issbench.results.runs import Run
from issbench.results.show import class_table, run_summary, step_table
from issbench.results.table import MISSING


def step(index: int, iou: list[float | None], groups: dict[str, float | None], **training: Any) -> dict[str, Any]:
    facts = {
        "seconds": 10.4, "train_images": 100 - index, "peak_memory_bytes": 2**30, "device": "cpu",
        "versions": {"python": "3.11", "torch": "2.6"},
    }  # fmt: skip
    return {
        "step": index,
        "key": f"key{index}",
        "iou": iou,
        "groups": groups,
        "pixel_accuracy": 80.0 + index,
        "training": facts | training,
    }


def run(complete: bool = True) -> Run:
    steps = [
        step(0, [90.0, 60.0, 50.0], {"0-2": 66.66, "3-4": None, "all": 66.66}, peak_memory_bytes=3 * 2**30),
        step(1, [88.0, 40.0, None, 30.0], {"0-2": 64.0, "3-4": 30.0, "all": 52.67}),
        step(2, [85.0, 35.5, None, 25.0, 20.0], {"0-2": 60.25, "3-4": 22.5, "all": 41.4}),
    ]
    record = {
        "format": 1,
        "experiment": {
            "method": "gsc:sg=off", "scenario": "shapes_2-1", "setting": "overlapped", "order": "natural",
            "classes": ["disk", "ring", "star", "cross"], "seed": 3, "recipe": {"epochs": 2, "lr": 0.01},
        },
        "protocol": "protocol plop: all of it",
        "class_names": ["background", "disk", "ring", "star", "cross"],
        "complete": complete,
        "steps": steps if complete else steps[:2],
    }  # fmt: skip
    if complete:
        record["forgetting"] = [5.0, 24.5, None, 5.0, 0.0]
    return Run(Path("/out/runs/shapes_2-1-x"), record)


def test_summary() -> None:
    facts = dict(run_summary(run()))
    assert facts["run"] == "shapes_2-1-x"
    assert facts["method"] == "gsc:sg=off"
    assert facts["scenario"] == "shapes_2-1, overlapped, order natural"
    assert facts["classes"] == "disk, ring, star, cross"
    assert facts["seed"] == "3"
    assert facts["recipe"] == "epochs=2, lr=0.01"
    assert facts["evaluation"] == "protocol plop: all of it"
    assert facts["finished"] == "yes"
    assert facts["training time"].startswith("31 s")
    assert facts["peak memory"] == "3.00 GiB on cpu"
    assert facts["versions"] == "python 3.11, torch 2.6"
    assert dict(run_summary(run(complete=False)))["finished"] == "no, 2 steps done"


def test_steps() -> None:
    table = step_table(run())
    assert table.header == ["step", "0-2", "3-4", "all", "pixel accuracy", "train images", "seconds", "key"]
    assert table.rows == [
        ["0", "66.7", MISSING, "66.7", "80.0", "100", "10", "key0"],
        ["1", "64.0", "30.0", "52.7", "81.0", "99", "10", "key1"],
        ["2", "60.2", "22.5", "41.4", "82.0", "98", "10", "key2"],
    ]


def test_classes_and_what_was_forgotten() -> None:
    table = class_table(run())
    assert table.header == ["class", "step 0", "step 1", "step 2", "forgotten"]
    assert table.rows == [
        ["background", "90.0", "88.0", "85.0", "5.0"],
        ["disk", "60.0", "40.0", "35.5", "24.5"],
        ["ring", "50.0", MISSING, MISSING, MISSING],
        ["star", MISSING, "30.0", "25.0", "5.0"],
        ["cross", MISSING, MISSING, "20.0", "0.0"],
    ]


def test_an_unfinished_run_shows_what_it_has() -> None:
    table = class_table(run(complete=False))
    assert [cells[0] for cells in table.rows] == ["background", "disk", "ring", "star"]
    assert {cells[-1] for cells in table.rows} == {MISSING}
    assert len(step_table(run(complete=False)).rows) == 2
