"""What differs between two runs, from their records and, where they are, the files of their steps."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from made_records import as_imported, one_record, write_run

from issbench.files import write_sealed
from issbench.results.differences import Differences, differences
from issbench.results.record import Record
from issbench.results.runs import Run

CLASSES = [f"class {number}" for number in range(1, 7)]


def record() -> Record:
    return one_record("gsc", "shapes_2-1", epochs=3)


def changed(record: Record, value: object, *keys: Any) -> Record:
    """A copy with another value at a place."""
    record = deepcopy(record)
    inner: Any = record
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return record


def between(one: Record, other: Record) -> Differences:
    return differences(Run(Path("a/runs/one"), one), Run(Path("b/runs/other"), other))


def test_equal_runs() -> None:
    assert between(record(), record()).none
    imported = as_imported(record())
    assert between(imported, imported).none  # of which less is known


@pytest.mark.parametrize(
    ("keys", "value", "line"),
    [
        (("experiment", "seed"), 7, ("seed", "0 against 7")),
        (("experiment", "order"), "random:1", ("order", "natural against random:1")),
        (("experiment", "classes"), ["disk"], ("classes", "none against disk")),
        (("experiment", "protocol", "void"), "background", ("protocol void", "ignore against background")),
        (("experiment", "recipe", "lr"), 0.5, ("lr", "0.001 against 0.5")),
        (("method", "options", "sg"), False, ("option sg", "on against off")),
        (("class_names",), ["none", "ring"], ("classes learned", f"{', '.join(CLASSES)} against ring")),
    ],
)  # fmt: skip
def test_settings(keys: tuple[Any, ...], value: object, line: tuple[str, str]) -> None:
    found = between(record(), changed(record(), value, *keys))
    assert found.settings == [line] and not found.circumstances and not found.results


def test_a_setting_that_one_version_does_not_know() -> None:
    newer = changed(record(), 0, "experiment", "recipe", "warm_up")
    assert between(record(), newer).none  # it is at its default
    newer = changed(
        changed(newer, 8, "experiment", "recipe", "warm_up"), {"warm_up": 8}, "experiment", "differs", "recipe"
    )
    assert between(record(), newer).settings == [("warm_up", "unknown against 8")]


def test_circumstances() -> None:
    other = changed(record(), "9" * 8, "data")
    for step in other["steps"]:
        training = deepcopy(step["training"])
        assert training is not None
        step["training"] = training | {"device": "cpu", "processes": 2}
    last: Any = other["steps"][-1]["training"]
    last["environment"] = {**last["environment"], "threads": 4, "cpu": "EPYC 7763, AVX2"}
    found = between(record(), other)
    assert found.circumstances == [
        ("images and labels", f"{record()['data']} against 99999999"),
        ("cpu", "EPYC 7763 against EPYC 7763 and EPYC 7763, AVX2"),
        ("threads", "1 against 1 and 4"),
        ("device", "cuda against cpu"),
        ("processes", "1 against 2"),
    ]
    assert not found.settings and not found.results


def test_the_first_other_key_and_why(tmp_path: Path) -> None:
    identity = {"code": "c0", "seed": 0, "method": {"name": "gsc", "options": {}, "code": "m0"}}
    other = changed(record(), "key-b", "steps", 1, "key")
    assert between(record(), other).circumstances[0][0] == "step 1 has another key"
    assert "its identity.json is not there" in between(record(), other).circumstances[0][1]
    runs = [write_run(tmp_path / name, "run", each) for name, each in {"a": record(), "b": other}.items()]
    for run, method in zip(runs, ({"code": "m0"}, {"code": "m1", "options": {"sg": False}}), strict=True):
        folder = run.store / "steps" / str(run.steps[1]["key"])
        folder.mkdir(parents=True)
        found = {"identity": identity | {"method": {**identity["method"], **method}}}  # type: ignore[dict-item]
        write_sealed(folder / "identity.json", found, folder.name)
    assert differences(*runs).circumstances == [
        ("step 1 has another key", "method code m0 against m1; method options sg unknown against off")
    ]


def test_from_where_the_losses_part() -> None:
    other = changed(record(), 0.5, "steps", 2, "training", "history", 1, "distillation")
    other = changed(other, 0.25, "steps", 3, "training", "history", 0, "classification")  # which follows from that
    # 123456 images in batches of 24 and three epochs
    assert between(record(), other).results == [
        (
            "losses part in step 2, epoch 2 (of the iterations 1715 to 3428)",
            "distillation 0.0123456789 against 0.5",
        )
    ]


def test_weights_counts_and_scores(tmp_path: Path) -> None:
    other = changed(record(), 5, "steps", 4, "counts", "fn", 2)
    other = changed(other, 47.25, "steps", 4, "metrics", "groups", "all")
    runs = [write_run(tmp_path / name, "run", each) for name, each in {"a": record(), "b": other}.items()]
    for run, digest in zip(runs, ("1" * 64, "2" * 64), strict=True):
        folder = run.store / "steps" / str(run.steps[3]["key"])
        folder.mkdir(parents=True)
        write_sealed(folder / "seal.json", {"weights.safetensors": digest}, folder.name)
    assert differences(*runs).results == [
        ("weights differ after step 3", "1111111111111111 against 2222222222222222"),
        ("counts differ after step 4", "in 1 of 7 classes"),
        ("mIoU (%) of all after step 4", "46 against 47.25, +1.2 points"),
    ]


def test_a_run_that_is_not_finished_is_compared_as_far_as_it_is() -> None:
    partial = one_record("gsc", "shapes_2-1", epochs=3, complete=False)
    assert between(record(), partial).results == [("finished steps", "5 against 4")]
