"""The schema of records: what older formats become, what imports write, and what it refuses."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from issbench.bench.engine.record import FORMAT
from issbench.results.importing import Layout, imported_record
from issbench.results.runs import load_runs

SCHEMA = json.loads((Path(__file__).parents[2] / "results" / "schema.json").read_text(encoding="utf-8"))
PROTOCOL = {
    "name": "plop", "void": "ignore", "future": "background", "test_images": "seen", "other_in_mean": True,
    "absent": "skip", "domain_split": "official",
}  # fmt: skip
EXPERIMENT = {
    "method": "ft", "scenario": "shapes_2-1", "setting": "overlapped", "order": "natural", "classes": ["disk"],
    "seed": 0, "protocol": PROTOCOL, "recipe": {"lr": 0.1, "first_epochs": None}, "data": None, "dataset": "shapes",
}  # fmt: skip


def step(index: int, channels: int) -> dict[str, Any]:
    """A step as format 1 had it."""
    return {
        "step": index,
        "key": f"key{index}",
        "iou": [50.0] * (channels - 1) + [None],
        "miou": {"base": 50.0, "new": None, "all": 50.0},
        "groups": {"0-2": 50.0, "3": None, "all": 50.0},
        "pixel_accuracy": 80.0,
        "counts": {"tp": [1] * channels, "fp": [1] * channels, "fn": [0] * channels},
        "test_images": 10,
        "test_seconds": 0.5,
        "recipe": {"lr": 0.1, "precision": "fp32"},
        "training": {
            "seconds": 2.5, "images": 320, "train_images": 20, "history": [{"classification": 0.5}],
            "peak_memory_bytes": None, "device": "cpu", "versions": {"python": "3.11"},
        },
    }  # fmt: skip


OLD = {
    "format": 1,
    "experiment": EXPERIMENT,
    "title": "FT",
    "protocol": "protocol plop",
    "class_names": ["background", "disk", "ring", "star"],
    "classes_per_step": [2, 1],
    "num_steps": 2,
    "complete": True,
    "steps": [step(0, 3), step(1, 4)],
    "mean_over_steps": 50.0,
    "forgetting": [0.0, 0.0, None, None],
}


def valid(record: Any) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(record)


@pytest.fixture
def migrated(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "runs" / "old"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(OLD))
    (run,) = load_runs(tmp_path)
    assert not run.imported
    return run.record


def test_the_schema_is_one_and_of_the_format_that_is_written() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["format"] == {"const": FORMAT}


def test_a_record_of_format_1_is_migrated(migrated: dict[str, Any]) -> None:
    assert not valid(OLD) and valid(migrated)
    assert migrated["format"] == FORMAT and migrated["source"] is None and migrated["group_spans"] is None
    assert [s["evaluation"] for s in migrated["steps"]] == [None, None]
    back = copy.deepcopy(migrated) | {"format": 1}
    del back["source"], back["group_spans"]
    for part in back["steps"]:
        del part["evaluation"]
    assert back == OLD  # nothing else has changed


@pytest.mark.parametrize("steps", [{0: [50.0, None, 25.0]}, {0: [50.0, None, 25.0], 1: [40.0, 30.0, 20.0, 10.0]}])
def test_imported_records_fit(steps: dict[int, list[float | None]]) -> None:
    spans = {"0-2": (0, 2), "all": (0, 3)}
    layout = Layout((2, 1), (3, 4), ["background", "a", "b", "c"], {"named": spans, "printed": spans}, False)
    source = {"format": "plop", "file": "a.csv", "sha256": "0" * 64}
    record = imported_record(steps, layout, EXPERIMENT | {"recipe": None}, "M", "protocol plop", source)
    assert valid(json.loads(json.dumps(record)))
    assert record["complete"] == (len(steps) == 2)


@pytest.mark.parametrize(
    "place, value",
    [
        (("format",), 1),
        (("source",), "plop"),
        (("complete",), "yes"),
        (("steps",), []),
        (("steps", 0, "iou", 0), 101.0),
        (("steps", 0, "counts", "tp", 0), -1),
        (("steps", 0, "evaluation"), {"name": "x"}),
        (("steps", 0, "training", "seconds"), None),
        (("experiment", "setting"), "overlaped"),
        (("experiment", "seed"), 0.5),
        (("surprise",), 1),
    ],
)
def test_what_does_not_fit(migrated: dict[str, Any], place: tuple[Any, ...], value: Any) -> None:
    wrong = copy.deepcopy(migrated)
    part = wrong
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    assert not valid(wrong)


@pytest.mark.parametrize("key", ["source", "experiment", "steps", "complete", "forgetting"])
def test_what_may_not_be_missing(migrated: dict[str, Any], key: str) -> None:
    assert not valid({name: value for name, value in migrated.items() if name != key})


def test_an_unfinished_run_has_no_summary(migrated: dict[str, Any]) -> None:
    assert not valid(migrated | {"complete": False})
    begun = {k: v for k, v in migrated.items() if k not in ("forgetting", "mean_over_steps")}
    assert valid(begun | {"complete": False})
