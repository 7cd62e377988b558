"""The schema of records: it fits the types, what is written, and refuses what does not belong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, NotRequired, get_origin, get_type_hints

import jsonschema
import pytest
from made_records import one_record

from issbench.files import sealed
from issbench.results import record as types
from issbench.results.record import FORMAT, Record

SCHEMA = json.loads((Path(__file__).parents[2] / "results" / "schema.json").read_text(encoding="utf-8"))


def written(record: Record) -> Any:
    """What stands in the file of a run."""
    return json.loads(sealed(record, "a"))


def valid(record: Any) -> bool:
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(record)


def test_the_schema_is_one_and_of_the_format_that_is_written() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["format"] == {"const": FORMAT}


@pytest.mark.parametrize(
    "name, part",
    [
        ("Experiment", "experiment"), ("MethodFacts", "method"), ("Environment", "environment"),
        ("EvaluationFile", "evaluation"), ("StepRecord", "step"), ("StepMetrics", "metrics"), ("Source", "source"),
    ],
)  # fmt: skip
def test_the_schema_has_the_members_of_the_types(name: str, part: str) -> None:
    assert set(get_type_hints(getattr(types, name))) == set(SCHEMA["$defs"][part]["properties"])


def test_the_schema_has_the_members_of_a_record_and_its_seal() -> None:
    hints = get_type_hints(Record, include_extras=True)
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    assert {*hints, "key", "sha256"} == set(SCHEMA["properties"])
    assert {*SCHEMA["properties"]} - optional == set(SCHEMA["required"])


@pytest.mark.parametrize("changed", [{}, {"complete": False}, {"imported": True}, {"scenario": "ade_100-50"}])
def test_records_fit(changed: dict[str, Any]) -> None:
    assert valid(written(one_record(**changed)))


def test_metrics_that_were_asked_for_fit() -> None:
    record = written(one_record())
    record["steps"][-1]["metrics"]["boundary_iou"] = {"all": 10.0}
    record["metrics"]["other"] = [1]
    assert valid(record)


def test_images_in_both_splits_are_counted_where_there_are_any() -> None:
    record = written(one_record())
    assert valid(record | {"leaks": 1}) and not valid(record | {"leaks": 0})


@pytest.mark.parametrize(
    "place, value",
    [
        (("format",), 2),
        (("source",), "plop"),
        (("complete",), "yes"),
        (("steps",), []),
        (("data",), 1),
        (("sha256",), "0"),
        (("steps", 0, "metrics", "iou", 0), 101.0),
        (("steps", 0, "metrics", "groups"), {}),
        (("steps", 0, "counts", "tp", 0), -1),
        (("steps", 0, "evaluations"), {"confusion": {"name": "x"}}),
        (("steps", 0, "training", "seconds"), None),
        (("steps", 0, "training", "environment", "threads"), 0),
        (("experiment", "setting"), "overlaped"),
        (("experiment", "seed"), 0.5),
        (("method", "options", "sg"), [1]),
        (("surprise",), 1),
    ],
)
def test_what_does_not_fit(place: tuple[Any, ...], value: Any) -> None:
    wrong = copy.deepcopy(written(one_record()))
    part = wrong
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    assert not valid(wrong)


@pytest.mark.parametrize("key", ["source", "experiment", "steps", "complete", "metrics", "method", "key", "sha256"])
def test_what_may_not_be_missing(key: str) -> None:
    assert not valid({name: value for name, value in written(one_record()).items() if name != key})


def test_only_a_complete_run_has_metrics_of_the_whole() -> None:
    record = written(one_record())
    assert not valid(record | {"complete": False})
    assert not valid(record | {"metrics": {}})
    assert valid(record | {"complete": False, "metrics": {}})
