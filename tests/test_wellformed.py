"""What was read from JSON is of the types that it should be, or the first fault is named with its place."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from made_records import as_imported, one_record

from issbench.results.read_record import fault_of
from issbench.wellformed import misfit


@dataclass(frozen=True)
class Thing:
    name: str
    pair: tuple[str, int]
    many: tuple[float | None, ...] = ()
    kind: Literal["a", "b"] = "a"
    settings: dict[str, Any] | None = None


SOUND = {
    "name": "x", "pair": ["y", 1], "many": [1, 2.5, None], "kind": "b", "settings": {"deep": [{"er": True}]},
}  # fmt: skip


@pytest.mark.parametrize(
    "changed, message",
    [
        ({}, None),
        ({"many": [], "settings": None}, None),
        ({"name": 5}, "it.name is 5, not a text"),
        ({"name": None}, "it.name is None, not a text"),
        ({"pair": ["y"]}, "it.pair is not a list of 2"),
        ({"pair": "yz"}, "it.pair is not a list of 2"),
        ({"pair": ["y", "z"]}, "it.pair[1] is 'z', not a whole number"),
        ({"many": [1.0, float("nan")]}, "it.many[1] is nan, not a number"),
        ({"many": [True]}, "it.many[0] is True, not a number"),
        ({"many": [10**400]}, "it.many[0] is 1000"),
        ({"kind": "c"}, "it.kind is 'c', not one of a, b"),
        ({"more": 1}, "it has 'more', which is unknown"),
        ({"kind": []}, "it.kind is [], not one of a, b"),
        ({"settings": []}, "it.settings is not a table of values"),
        ({"settings": {"deep": [float("inf")]}}, "it.settings.deep[0] is inf, which no machine counts with"),
    ],
)
def test_values(changed: dict[str, Any], message: str | None) -> None:
    found = misfit(SOUND | changed, Thing, "it")
    assert found is None if message is None else (found or "").startswith(message)


def test_what_is_missing() -> None:
    assert misfit({"name": "x"}, Thing, "it") == "it lacks 'pair'"
    assert misfit(["name"], Thing, "it") == "it is not a table of values"


@pytest.mark.parametrize("scenario", ["voc_15-1", "ade_100-5", "cityscapes_1-1"])
def test_sound_records(scenario: str) -> None:
    made = one_record(scenario=scenario, setting="domain" if scenario.startswith("city") else "overlapped")
    for record in (made, as_imported(made)):
        assert fault_of(json.loads(json.dumps(record))) is None


@pytest.mark.parametrize("scenario", ["my_data_2-1", "voc_15-100000"])
def test_every_name_of_a_scenario_is_sound(scenario: str) -> None:
    """A data set of a plug-in may have `_` in its name, and the last step is often smaller than the increment."""
    assert fault_of(changed("experiment.scenario", scenario)) is None


@pytest.mark.parametrize(
    "setting", ["overlapped", "disjoint", "sequential", "partitioned", "partitioned:3", "domain"]
)
def test_settings_as_they_are_recorded(setting: str) -> None:
    assert fault_of(changed("experiment.setting", setting)) is None


def changed(path: str, value: object) -> dict[str, Any]:
    record: Any = copy.deepcopy(json.loads(json.dumps(one_record())))
    *outer, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    node = record
    for part in outer:
        node = node[part]
    node[last] = value
    return record


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("steps", [], "the record.steps are [] of 6"),
        ("steps.0.step", 3, "the record.steps are [3, 1, 2, 3, 4, 5] of 6"),
        ("steps.2.metrics.iou.1", "x", "the record.steps[2].metrics.iou[1] is 'x', not a number"),
        ("steps.2.metrics.iou", [], "the record.steps[2].metrics.iou has 0 values, with 21 classes"),
        ("steps.2.counts.tp", [1] * 30, "the record.steps[2].counts.tp has 30 values, with 21 classes"),
        ("steps.2.evaluations.confusion.images", "/etc/passwd", "images leads out of the store"),
        ("steps.2.evaluations.confusion.images", "a/../../b", "images leads out of the store"),
        ("num_steps", 10**9, "the record.num_steps is 1000000000, where classes_per_step has another number"),
        ("group_spans.named.all", [0, 99], "the record.group_spans.named.all is [0, 99], with 21 classes"),
        ("group_spans.named.all", [0], "the record.group_spans.named.all is [0], with 21 classes"),
        ("experiment.scenario", "voc_15-1\n", "the record.experiment.scenario is 'voc_15-1\\n'"),
        ("experiment.setting", "overlaped", "the record.experiment.setting is 'overlaped'"),
        ("experiment.setting", "partitioned:\n", "the record.experiment.setting is 'partitioned:\\n'"),
        ("experiment.images", 0.3, "the record.experiment.images is 0.3, not a text"),
        ("experiment.protocol", {}, "the record.experiment.protocol lacks its name"),
        ("experiment.recipe.lr", float("inf"), "the record.experiment.recipe.lr is inf"),
        ("method.colour", "red; background: url(x)", "the record.method cannot be drawn with its colour"),
        ("method.marker", "$\\frac{1}", "the record.method cannot be drawn with its marker"),
        ("metrics.forgetting", [None, "x"], "the record.metrics.forgetting[1] is 'x', not a number"),
    ],
)
def test_hostile_records(path: str, value: object, message: str) -> None:
    assert message in (fault_of(changed(path, value)) or "nothing")
