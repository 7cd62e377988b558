"""The run store: what is written is there whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import Timeout

import issbench.bench.engine.store as store_module
from issbench.bench.engine.store import Store, hash_of
from issbench.errors import RunError
from issbench.files import read_json, write_arrays, write_json

WEIGHTS = {
    "conv": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)).to(
        memory_format=torch.channels_last
    ),
    "count": torch.tensor(7),
    "half": torch.ones(2, dtype=torch.bfloat16),
}
STATE = {"medians": torch.tensor([0.5, 0.25])}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs" / "deep")


def files(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "steps").iterdir())


def save(store: Store, key: str = "k") -> None:
    store.save_step(key, {"step": 0}, {"seconds": 1.5}, WEIGHTS, STATE)


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
    assert read_json(store.step_dir("k") / "identity.json") == {"step": 0}
    assert read_json(store.step_dir("k") / "training.json") == {"seconds": 1.5}
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
    assert store.load_state("k", "state-x") is None
    store.save_state("k", "state-x", {"seen": torch.ones(2)})
    assert equal(store.load_state("k", "state-x"), {"seen": torch.ones(2)})
    assert equal(store.load_state("k"), STATE)
    store.save_state("k", "empty", {})
    assert store.load_state("k", "empty") == {}


def test_a_failure_in_the_middle_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save_checkpoint("k", {"iteration": 3})
    written = []

    def fail_at_second(tensors: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"half")
        written.append(path)
        if len(written) == 2:
            raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "save_file", fail_at_second)
        with pytest.raises(OSError, match="disk full"):
            save(store)
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
    assert store.load_checkpoint("k") is None
    for iteration in (1, 2):
        state = {"iteration": iteration, "weights": WEIGHTS, "history": [{"loss": 0.5}]}
        store.save_checkpoint("k", state)
        loaded = store.load_checkpoint("k")
        assert loaded["iteration"] == iteration
        assert loaded["history"] == [{"loss": 0.5}]
        assert equal(loaded["weights"], WEIGHTS)
    assert files(store) == ["k.checkpoint"]


def test_a_checkpoint_that_fails_leaves_the_one_before(store: Store) -> None:
    store.save_checkpoint("k", {"iteration": 1})
    with pytest.raises(Exception, match="pickle"):
        store.save_checkpoint("k", {"iteration": 2, "function": lambda: None})
    assert store.load_checkpoint("k") == {"iteration": 1}
    assert files(store) == ["k.checkpoint"]


def test_one_process_holds_a_step(store: Store) -> None:
    with store.lock("k"):
        with pytest.raises(Timeout):
            Store(store.root).lock("k").acquire(timeout=0)
        Store(store.root).lock("other").acquire(timeout=0).lock.release()
    Store(store.root).lock("k").acquire(timeout=0).lock.release()


HOLDER = """
import sys, time
from issbench.bench.engine.store import Store
with Store(sys.argv[1]).lock("k", lambda: print("lost", flush=True), lease=3):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(store: Store) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of step k."""
    command = [sys.executable, "-c", HOLDER, str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_lock_of_a_killed_process_is_free_at_once(store: Store, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(Timeout):
        store.lock("k", lease=3).acquire(timeout=0)
    holder.kill()
    holder.wait()
    store.lock("k", lease=3).acquire(timeout=1).lock.release()


def test_a_process_that_gives_no_sign_of_life_loses_its_lock_and_learns_of_it(
    store: Store, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(Timeout):  # it renews the lock, so that a lease of 3 s lasts
        store.lock("k", lease=3).acquire(timeout=5)
    holder.send_signal(signal.SIGSTOP)
    with store.lock("k", lease=3).acquire(timeout=600):
        holder.send_signal(signal.SIGCONT)
        assert holder.stdout.readline() == "lost\n"


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"run store .*file/runs cannot be written \(.*pass another --out") as info:
        Store(tmp_path / "file" / "runs")
    assert info.value.exit_code == 1


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    write_json(path, {"a": [1, None, 0.1]})
    assert read_json(path) == {"a": [1, None, 0.1]}
    with pytest.raises(TypeError):
        write_json(path, {"a": {1, 2}})
    assert read_json(path) == {"a": [1, None, 0.1]}
    write_json(path, {"b": "ä"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"b": "ä"}
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]


def test_arrays_are_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counts.npz"
    write_arrays(path, {"tp": np.arange(3, dtype=np.uint32)})
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", lambda file, **_: file.write(b"half") and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_arrays(path, {})
    with np.load(path) as stored:
        assert stored["tp"].tolist() == [0, 1, 2] and stored["tp"].dtype == np.uint32
    assert [p.name for p in tmp_path.iterdir()] == ["counts.npz"]


def test_hashes_depend_on_values_alone() -> None:
    assert hash_of({"a": 1, "b": [1, 2]}) == hash_of({"b": (1, 2), "a": 1})
    different = [hash_of(v) for v in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": None}, [1], [2, 1], [1, 2])]
    assert len(set(different)) == len(different)
    assert len(hash_of(1)) == 24


def test_a_damaged_checkpoint_is_told(store: Store) -> None:
    store.save_checkpoint("k", {"iteration": 1})
    path = store.checkpoint_path("k")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=r"k\.checkpoint cannot be read .*remove it") as info:
        store.load_checkpoint("k")
    assert info.value.exit_code == 1
