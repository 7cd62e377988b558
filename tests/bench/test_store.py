"""The run store: what is written is there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_records import one_record

from issbench.bench.engine.store import StepDamaged, Store
from issbench.bench.engine.stored import read_identity
from issbench.bench.outcome import read_outcome
from issbench.errors import RunError, UsageError
from issbench.files import CannotWrite, DamagedFile, read_sealed
from issbench.results.record import FORMAT, Record

WEIGHTS = {
    "conv": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)).to(
        memory_format=torch.channels_last
    ),
    "count": torch.tensor(7),
    "half": torch.ones(2, dtype=torch.bfloat16),
}
STATE = {"medians": torch.tensor([0.5, 0.25])}
TRAINING = one_record()["steps"][0]["training"]


@pytest.fixture
def notes() -> list[str]:
    """What the store says of damaged files."""
    return []


@pytest.fixture
def store(tmp_path: Path, notes: list[str]) -> Store:
    return Store(tmp_path / "runs" / "deep", note=notes.append)


def files(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "steps").iterdir())


def save(store: Store, key: str = "k") -> None:
    store.save_step(key, {"step": 0}, TRAINING, WEIGHTS, STATE)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def test_a_step_comes_back_as_it_was(store: Store) -> None:
    assert not store.has_step("k")
    save(store)
    assert store.has_step("k")
    assert files(store) == ["k"]
    assert equal(store.load_weights("k"), WEIGHTS)
    assert equal(store.load_state("k"), STATE)
    assert read_identity(store.step_dir("k"), "k") == {"step": 0}
    assert store.load_training("k") == TRAINING
    assert store.missing_steps(["k", "other"]) == {"other"}
    assert Store(store.root).has_step("k")  # another process finds it


def test_of_two_owners_of_a_step_the_first_result_stays(store: Store) -> None:
    save(store)
    before = (store.step_dir("k") / "weights.safetensors").stat().st_ino
    store.save_checkpoint("k", {"iteration": 3})
    save(store)
    assert files(store) == ["k"]
    assert (store.step_dir("k") / "weights.safetensors").stat().st_ino == before


def test_what_the_store_holds_is_as_readable_as_any_new_file(store: Store, tmp_path: Path) -> None:
    save(store)
    (tmp_path / "new").touch()
    store.save_checkpoint("other", {"iteration": 1})
    modes = {path.stat().st_mode for path in (store.root / "steps").rglob("*") if path.is_file()}
    assert modes == {(tmp_path / "new").stat().st_mode}


def test_named_states_lie_beside_the_step(store: Store) -> None:
    save(store)
    assert store.load_first_state("k", "state-x") is None
    store.save_first_state("k", "state-x", {"seen": torch.ones(2)})
    assert equal(store.load_first_state("k", "state-x"), {"seen": torch.ones(2)})
    assert equal(store.load_state("k"), STATE)
    store.save_first_state("k", "empty", {})
    assert store.load_first_state("k", "empty") == {}


def test_a_failure_in_the_middle_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save_checkpoint("k", {"iteration": 3})
    written = []

    def fail_at_third(number: int) -> None:
        written.append(number)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_at_third)
        with pytest.raises(
            CannotWrite, match=r"steps/k cannot be written, no space is left.* bytes are free"
        ) as info:
            save(store)
    assert "it needs 452 bytes" in str(info.value)
    assert not store.has_step("k")
    assert files(store) == ["k.checkpoint"]  # the work so far is still there
    save(store)
    assert files(store) == ["k"]  # and no longer needed


def test_remains_of_killed_processes_are_removed(store: Store) -> None:
    steps = store.root / "steps"
    (steps / ".k.0123").mkdir()
    (steps / ".k.0123" / "weights.safetensors").write_bytes(b"half")
    (steps / ".k.checkpoint.4567").write_bytes(b"half")
    (steps / ".other.89ab").mkdir()
    assert not store.has_step("k")
    save(store)
    assert files(store) == [".other.89ab", "k"]


def test_a_checkpoint_replaces_the_one_before(store: Store) -> None:
    assert store.load_checkpoint("k", 2) is None
    for iteration in (1, 2):
        state = {"iteration": iteration, "weights": WEIGHTS, "history": [{"loss": 0.5}]}
        store.save_checkpoint("k", state)
        loaded = store.load_checkpoint("k", 2)
        assert loaded["iteration"] == iteration
        assert loaded["history"] == [{"loss": 0.5}]
        assert equal(loaded["weights"], WEIGHTS)
    assert files(store) == ["k.checkpoint"]


def test_a_checkpoint_that_fails_leaves_the_one_before(store: Store) -> None:
    store.save_checkpoint("k", {"iteration": 1})
    with pytest.raises(TypeError, match="JSON"):
        store.save_checkpoint("k", {"iteration": 2, "function": lambda: None})
    assert store.load_checkpoint("k", 2) == {"iteration": 1}
    assert files(store) == ["k.checkpoint"]


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"run store .*file/runs cannot be written \(.*pass another --out") as info:
        Store(tmp_path / "file" / "runs")
    assert info.value.exit_code == 1


# Damaged and foreign files


Damage = Callable[[Path], None]


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def from_elsewhere(path: Path) -> None:
    """The file of another step or run, which is whole."""
    is_checkpoint = path.suffix == ".checkpoint"
    other = path.with_name("other.checkpoint") if is_checkpoint else path.parent.with_name("other") / path.name
    path.write_bytes(other.read_bytes())


damages = pytest.mark.parametrize("damage", [cut_off, flip_a_bit, empty, from_elsewhere])


@damages
@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("weights.safetensors", Store.load_weights),
        ("method.safetensors", Store.load_state),
        ("seal.json", Store.load_weights),
        ("training.json", Store.load_training),
    ],
)
def test_a_damaged_step_is_set_aside(
    store: Store, damage: Damage, name: str, load: Callable[[Store, str], object]
) -> None:
    save(store)
    store.save_step(
        "other", {"step": 1}, {**TRAINING, "seconds": 2.5}, {"conv": torch.ones(3)}, {"medians": torch.ones(3)}
    )
    damage(store.step_dir("k") / name)
    with pytest.raises(StepDamaged, match=rf"{name} .*set aside as k\.damaged-1, and is computed anew"):
        load(store, "k")
    assert not store.has_step("k")
    assert files(store) == ["k.damaged-1", "other"]
    save(store)
    damage(store.step_dir("k") / name)
    with pytest.raises(StepDamaged, match=r"k\.damaged-2"):
        load(store, "k")
    save(store)
    assert equal(store.load_weights("k"), WEIGHTS)


@pytest.mark.parametrize("name", ["weights.safetensors", "training.json"])
def test_a_step_that_lacks_a_file_is_set_aside(store: Store, name: str) -> None:
    save(store)
    (store.step_dir("k") / name).unlink()
    with pytest.raises(StepDamaged, match=name):
        (store.load_weights if name.startswith("weights") else store.load_training)("k")
    with pytest.raises(StepDamaged):  # another process set it aside a moment ago
        store.load_weights("k")


@damages
@pytest.mark.parametrize("name", ["state-x.safetensors", "state-x.json"])
def test_a_damaged_state_after_the_first_step_is_set_aside(
    store: Store, notes: list[str], damage: Damage, name: str
) -> None:
    for key, value in (("k", 1.0), ("other", 2.0)):
        save(store, key)
        store.save_first_state(key, "state-x", {"seen": torch.full((2,), value)})
    damage(store.step_dir("k") / name)
    assert store.load_first_state("k", "state-x") is None
    (note,) = notes
    assert name in note and f"set aside as {name}.damaged-1" in note
    store.save_first_state("k", "state-x", {"seen": torch.ones(2)})
    assert equal(store.load_first_state("k", "state-x"), {"seen": torch.ones(2)})
    assert equal(store.load_weights("k"), WEIGHTS)


@damages
@pytest.mark.parametrize("name", ["evaluation-x.npz", "evaluation-x.json"])
def test_a_damaged_evaluation_is_set_aside(store: Store, notes: list[str], damage: Damage, name: str) -> None:
    facts = {"counts": {"tp": [1, 2], "fp": [0, 0], "fn": [0, 3]}, "seconds": 0.5}
    for key, value in (("k", 1), ("other", 2)):
        save(store, key)
        store.save_evaluation(key, "evaluation-x", {"tp": np.full(9, value)}, facts | {"images": value})
    assert store.has_evaluations("k", ["evaluation-x"]) and not store.has_evaluations("k", ["evaluation-y"])
    assert store.load_evaluation("k", "evaluation-x")["images"] == 1
    damage(store.step_dir("k") / name)
    assert not store.has_evaluations("k", ["evaluation-x"])
    (note,) = notes
    assert name in note and f"set aside as {name}.damaged-1" in note
    assert equal(store.load_weights("k"), WEIGHTS)


@damages
def test_a_damaged_checkpoint_is_set_aside(store: Store, notes: list[str], damage: Damage) -> None:
    store.save_checkpoint("other", {"iteration": 2})
    store.save_checkpoint("k", {"iteration": 1})
    damage(store.checkpoint_path("k"))
    assert store.load_checkpoint("k", 9) is None
    (note,) = notes
    assert "k.checkpoint" in note and "set aside as k.checkpoint.damaged-1" in note
    assert files(store) == ["k.checkpoint.damaged-1", "other.checkpoint"]
    assert store.load_checkpoint("k", 9) is None and len(notes) == 1


@pytest.mark.parametrize("iteration", [-1, 10, 2.5, None, "3"])
def test_a_checkpoint_of_an_impossible_iteration_is_set_aside(
    store: Store, notes: list[str], iteration: object
) -> None:
    store.save_checkpoint("k", {"iteration": iteration})
    assert store.load_checkpoint("k", 9) is None
    assert f"is of iteration {iteration}, but the step has 9" in notes[0]


def test_a_checkpoint_of_something_else(store: Store, notes: list[str]) -> None:
    store.save_checkpoint("k", {"weights": torch.ones(1)})
    assert store.load_checkpoint("k", 9) is None
    assert all("cannot be loaded" in note for note in notes) and len(notes) == 1


# Records


def record(*keys: str, complete: bool = True, format: int = FORMAT, seconds: float = 1.0) -> Record:
    """A record of a run whose steps have these keys, as it is read."""
    made: Record = json.loads(json.dumps(one_record("ft")))
    steps = made["steps"][: len(keys)]
    for step, key in zip(steps, keys, strict=True):
        step["key"], step["test_seconds"] = key, seconds
    return {**made, "format": format, "complete": complete, "steps": steps}


def names(store: Store) -> set[str]:
    return {path.name for path in store.run_dir("r").iterdir()}


def test_a_record_grows_with_its_run(store: Store) -> None:
    for step in range(1, 4):
        growing = record(*"abc"[:step], complete=step == 3)
        store.save_record("r", growing)
        assert store.load_record("r") == growing and names(store) == {"run.json"}


def test_a_complete_record_is_never_replaced_by_a_partial_one(store: Store) -> None:
    complete = record("a", "b", "c")
    store.save_record("r", complete)
    for partial in (record("a", complete=False), record("A", complete=False), record("A", "B", complete=False)):
        store.save_record("r", partial)
        assert store.load_record("r") == complete
        assert read_sealed(store.run_dir("r") / "unfinished.json", "r") == partial
    store.save_record("r", record("A", "B", "C"))
    assert store.load_record("r") == record("A", "B", "C") and names(store) == {"run.json"}


def test_a_partial_record_is_not_replaced_by_one_of_fewer_steps(store: Store) -> None:
    store.save_record("r", record("a", "b", complete=False))
    store.save_record("r", record("a", complete=False))
    assert store.load_record("r") == record("a", "b", complete=False)
    again = record("a", "b", complete=False, seconds=2.0)
    store.save_record("r", again)
    assert store.load_record("r") == again and names(store) == {"run.json"}
    store.save_record("r", record("A", complete=False))  # another method: its steps are others
    assert store.load_record("r") == record("A", complete=False)


def test_a_record_of_a_newer_version_is_left_alone(store: Store) -> None:
    store.save_record("r", record("a", format=FORMAT + 1))
    before = (store.run_dir("r") / "run.json").read_bytes()
    for touch in (lambda: store.check_records(["r"]), lambda: store.save_record("r", record("A"))):
        with pytest.raises(UsageError, match=r"run\.json was written by a newer version .*update this one.*--out"):
            touch()
    assert (store.run_dir("r") / "run.json").read_bytes() == before
    store.check_records(["none"])


@damages
def test_a_damaged_record_is_set_aside(store: Store, notes: list[str], damage: Damage) -> None:
    for run in ("r", "other"):
        store.save_record(run, record("a", "b", seconds=len(run)))
    damage(store.run_dir("r") / "run.json")
    with pytest.raises(DamagedFile):
        store.load_record("r")
    store.save_record("r", record("a", complete=False))
    assert store.load_record("r") == record("a", complete=False)
    assert names(store) == {"run.json", "run.json.damaged-1"}
    assert "set aside as run.json.damaged-1" in notes[0]


# Failures


def test_a_failure_is_kept_until_the_step_is_finished(store: Store) -> None:
    store.write_outcome("r", "running")
    store.save_failure("r", "the loss became nan", {"k": "the loss became nan"})
    outcome = read_outcome(store.run_dir("r") / "outcome.json")
    assert outcome is not None and (outcome.state, outcome.reason) == ("failed", "the loss became nan")
    assert read_sealed(store.root / "steps" / "k.failed.json", "k") == {"reason": "the loss became nan"}
    store.save_failure("r", "the other process is gone", {"k": "the other process is gone"})
    assert read_sealed(store.root / "steps" / "k.failed.json", "k") == {"reason": "the loss became nan"}
    save(store)
    assert files(store) == ["k"]
    store.write_outcome("r", "done")
    outcome = read_outcome(store.run_dir("r") / "outcome.json")
    assert outcome is not None and (outcome.state, outcome.reason) == ("done", "")
