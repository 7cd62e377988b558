"""The run store: results of steps under their keys, checkpoints inside a step, and one record per run.

OUT/runs/RUN/run.json            the experiment and the records of its steps
OUT/runs/RUN/log.txt             what was printed
OUT/runs/RUN/progress.json       where its training is, as long as it lasts
OUT/steps/KEY/                   written once, atomically:
    identity.json                what the key is a hash of
    training.json                time, memory, versions, mean terms of the loss per epoch
    weights.safetensors          the network after the step
    method.safetensors           the method's state after the step
    evaluation-HASH.json         counts of the confusion matrix, one file per evaluation protocol
    evaluation-HASH.npz          the same counts image by image
    state-HASH.safetensors       a method's state after a first step that it shares
OUT/steps/KEY.checkpoint         the state inside an unfinished step
OUT/steps/KEY.lock               there while a process computes the step
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import SoftFileLease
from safetensors.torch import load_file, save_file
from torch import Tensor

from issbench.errors import RunError
from issbench.files import replacing, write_json

LEASE = 120.0
"""Seconds without a sign of life after which a step's lock may be broken: longer than NFS caches a file's time."""


def hash_of(value: Any) -> str:
    """A hash (24 hex digits) of plain values, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class Store:
    """The steps and runs under one directory. Raises RunError where it cannot be written; `look` leaves a
    directory that is not there alone, for those who only ask what is done."""

    def __init__(self, root: str | Path, look: bool = False):
        self.root = Path(root)
        if look:
            return
        try:
            (self.root / "steps").mkdir(parents=True, exist_ok=True)
            (self.root / "runs").mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(
                f"run store {self.root} cannot be written ({error.strerror}); pass another --out"
            ) from None

    def step_dir(self, key: str) -> Path:
        """Where a finished step lies."""
        return self.root / "steps" / key

    def run_dir(self, run: str) -> Path:
        """The folder of a run."""
        return self.root / "runs" / run

    def has_step(self, key: str) -> bool:
        """Whether a step is finished."""
        return self.step_dir(key).is_dir()

    def lock(self, key: str, on_loss: Callable[[], None] = lambda: None, lease: float = LEASE) -> SoftFileLease:
        """The lock of a step, among all machines that share the store.

        It is a file that must not exist before (O_EXCL, which NFS 3 and later keep atomic) and whose time its owner
        renews. Others break it when they have seen no renewal for `lease` seconds of their own clocks, or at once
        when its owner is a dead process of this machine. An owner that was not dead, only stopped, learns of it by
        `on_loss`; even two owners do no harm but double work, since what they write is the same and appears whole.
        """
        path = self.root / "steps" / f"{key}.lock"
        return SoftFileLease(path, lease_duration=lease, on_compromise=lambda _: on_loss())

    def save_step(
        self,
        key: str,
        identity: Any,
        training: Any,
        weights: Mapping[str, Tensor],
        state: Mapping[str, Tensor],
    ) -> None:
        """Write a finished step; it appears whole or not at all. Its checkpoint is no longer needed.

        Where another owner of a lost lock was faster, what it wrote stays.
        """
        self.remove_remains(key)
        folder = self.root / "steps" / f".{key}.{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            write_json(folder / "identity.json", identity)
            write_json(folder / "training.json", training)
            _save_tensors(folder / "weights.safetensors", weights)
            _save_tensors(folder / "method.safetensors", state)
            folder.rename(self.step_dir(key))
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if not (isinstance(error, OSError) and self.has_step(key)):
                raise
        self.checkpoint_path(key).unlink(missing_ok=True)

    def remove_remains(self, key: str) -> None:
        """Remove what killed processes left half written; only the holder of the lock may call this."""
        for remains in (self.root / "steps").glob(f".{key}.*"):
            shutil.rmtree(remains) if remains.is_dir() else remains.unlink()

    def load_weights(self, key: str) -> dict[str, Tensor]:
        """The network of a finished step, on the CPU."""
        return load_file(self.step_dir(key) / "weights.safetensors")

    def load_state(self, key: str, name: str = "method") -> dict[str, Tensor] | None:
        """The method's state after a finished step, or a named state beside it; None if there is none."""
        path = self.step_dir(key) / f"{name}.safetensors"
        return load_file(path) if path.is_file() else None

    def save_state(self, key: str, name: str, state: Mapping[str, Tensor]) -> None:
        """Add a named state to a finished step."""
        _save_tensors(self.step_dir(key) / f"{name}.safetensors", state)

    def checkpoint_path(self, key: str) -> Path:
        """The checkpoint inside an unfinished step."""
        return self.root / "steps" / f"{key}.checkpoint"

    def save_checkpoint(self, key: str, state: Mapping[str, Any]) -> None:
        """Replace the step's checkpoint; a crash leaves the old or the new one, never half of one."""
        with replacing(self.checkpoint_path(key)) as temporary:
            torch.save(dict(state), temporary)

    def load_checkpoint(self, key: str) -> dict[str, Any] | None:
        """The step's checkpoint on the CPU, or None. RunError for a damaged one."""
        path = self.checkpoint_path(key)
        if not path.is_file():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged files fail in many ways
            raise RunError(
                f"checkpoint {path} cannot be read ({type(error).__name__}); remove it, and its step starts anew"
            ) from None


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(plain, temporary)
