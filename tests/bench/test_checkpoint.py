"""The file of a checkpoint: what was saved comes back, and nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch

from issbench.bench.engine.checkpoint import read_checkpoint, write_checkpoint
from issbench.files import DamagedFile

STATE = {
    "iteration": 3,
    "student": {"weight": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), "count": torch.tensor(7)},
    "optimizer": {
        "state": {0: {"momentum_buffer": torch.randn(4).to(torch.bfloat16)}, 1: {}},
        "param_groups": [{"lr": 0.1, "nesterov": True, "foreach": None, "params": [0, 1]}],
    },
    "empty": {"tensor": torch.zeros(0, 3), "pairs": [], "none": {}},
    "history": [{"ce": 0.1 + 0.2}, {"ce": float("inf")}],
}


def assert_equal(found: object, expected: object) -> None:
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, torch.Tensor) and found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert isinstance(found, dict) and list(found) == list(expected)
        for key, value in expected.items():
            assert_equal(found[key], value)
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert found == expected and type(found) is type(expected)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "key.checkpoint"
    write_checkpoint(path, "key", STATE)
    assert_equal(read_checkpoint(path, "key", 3), STATE)


def test_tensors_may_share_their_memory(tmp_path: Path) -> None:
    path, weight = tmp_path / "key.checkpoint", torch.randn(4)
    write_checkpoint(path, "key", {"iteration": 0, "student": weight, "method": weight[1:]})
    found = read_checkpoint(path, "key", 3)
    assert torch.equal(found["student"], weight) and torch.equal(found["method"], weight[1:])


class Hostile:
    """What would write a file when it is unpickled."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> object:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("how", [pickle.dump, torch.save])
def test_no_pickle_is_read(how, tmp_path: Path) -> None:

    plain, path = tmp_path / "plain", tmp_path / "key.checkpoint"
    with plain.open("wb") as file:
        how({"iteration": 1, "student": Hostile(tmp_path / "executed")}, file)
    content = plain.read_bytes()
    head = {"key": "key", "sha256": hashlib.sha256(content).hexdigest()}  # an attacker can make a checksum, too
    path.write_bytes(b"issbench checkpoint " + json.dumps(head).encode() + b"\n" + content)
    with pytest.raises(DamagedFile, match="cannot be loaded"):
        read_checkpoint(path, "key", 3)
    assert not (tmp_path / "executed").exists()
