"""What dead processes left is removed by the next run, and nothing else; what a step needs dies with it."""

from __future__ import annotations

import gc
import os
import shutil
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from small_folder import RECIPE, small_folder

from issbench import Experiment, run
from issbench.bench.engine import training
from issbench.bench.engine.network import Network
from issbench.bench.engine.store import Store
from issbench.files import read_sealed

ID = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data"))


def carry_out(data: Path, out: Path, *methods: str) -> None:
    asked = [Experiment(method, "folder_1-1", data=data, recipe=RECIPE) for method in methods]
    run(asked, out=out, device="cpu", workers=0)


def test_what_dead_processes_left_is_removed(data: Path, tmp_path: Path) -> None:
    carry_out(data, tmp_path, "ft")
    (record,) = tmp_path.glob("runs/*/run.json")
    first, _, last = (step["key"] for step in read_sealed(record)["steps"])
    steps, folder = tmp_path / "steps", record.parent
    shutil.rmtree(steps / last)
    record.unlink()
    old = [folder / f".run.json.{ID}", steps / first / f".evaluation-1.npz.{ID}", steps / f".{first}.{ID}"]
    young = [folder / f".outcome.json.{ID}", steps / first / f".state-1.json.{ID}"]
    others = [folder / ".notes", folder / f"mine.{ID}", steps / f".{ID[:24]}.{ID}"]
    old[2].mkdir()
    for path in (*old[:2], *young, *others, old[2] / "weights.safetensors"):
        path.touch()
    for path in (*old, *others):
        os.utime(path, (time.time() - 7200,) * 2)
    for needless in ("checkpoint", "failed.json", "failed.safetensors"):  # killed before it removed them
        (steps / f"{first}.{needless}").touch()
    carry_out(data, tmp_path, "ft")
    assert not any(path.exists() for path in old) and all(path.exists() for path in (*young, *others))
    assert not [*steps.glob("*.checkpoint"), *steps.glob("*.failed.*")]


def test_a_finished_step_gets_no_checkpoint(data: Path, tmp_path: Path) -> None:
    """From an owner whose lock was lost while it was stopped."""
    carry_out(data, tmp_path, "ft")
    (record,) = tmp_path.glob("runs/*/run.json")
    key = read_sealed(record)["steps"][0]["key"]
    Store(tmp_path).save_checkpoint(key, {"iteration": 1})
    assert not [*tmp_path.glob("steps/*.checkpoint")]


def test_nothing_of_a_finished_step_stays_alive(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a garbage collection: a GPU would be full before, and peaks of memory would depend on what
    ran before."""
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []
    assemble, init = training.assemble, Network.__init__

    def counted(*given: Any) -> Any:
        alive.append(sum(each() is not None for each in made))
        step = assemble(*given)
        made.extend(map(weakref.ref, (step, step.method, step.optimizer)))
        return step

    def network(self: Network, *given: Any, **named: Any) -> None:
        init(self, *given, **named)
        made.append(weakref.ref(self))

    monkeypatch.setattr(training, "assemble", counted)
    monkeypatch.setattr(Network, "__init__", network)
    gc.collect()
    gc.disable()
    try:
        carry_out(data, tmp_path, "gsc", "rcil", "ewc")
    finally:
        gc.enable()
    assert alive == [0] * 7, "one shared step, and two of each method"
