"""The file of a checkpoint: nested dictionaries and lists of tensors and plain values, without pickle.

The first line has the key and the checksum of all after it, the second the plain values and the places of the
tensors as JSON; then the tensors as safetensors has them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from issbench.files import ALTERED, DamagedFile, read_bytes, write_bytes

Finds = Callable[[Mapping[str, Any]], str | None]
"""Says what is wrong with the state in a checkpoint; None: nothing."""

_MARK = b"issbench checkpoint "


def nothing(state: Mapping[str, Any]) -> None:
    """Finds nothing wrong with a state."""


def write_checkpoint(path: Path, key: str, state: Mapping[str, Any]) -> None:
    """Replace a checkpoint, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    values = json.dumps(_without_tensors(state, tensors)).encode() + b"\n"
    content = safetensors.torch.save(tensors)
    digest = hashlib.sha256(values)
    digest.update(content)
    head = {"key": key, "sha256": digest.hexdigest()}
    write_bytes(path, _MARK + json.dumps(head).encode() + b"\n", values, content)


def read_checkpoint(path: Path, key: str, iterations: int, wrong_in: Finds = nothing) -> dict[str, Any]:
    """A checkpoint on the CPU, of a step of so many iterations. DamagedFile for one that cannot be trusted, or in
    whose state `wrong_in` finds something."""
    line, _, content = read_bytes(path).partition(b"\n")
    try:
        head = json.loads(line.removeprefix(_MARK))
        sha256, owner = head["sha256"], head["key"]
    except (ValueError, RecursionError, KeyError, TypeError):
        sha256 = owner = None
    if not line.startswith(_MARK) or hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFile(path, ALTERED)
    if owner != key:
        raise DamagedFile(path, f"belongs to step {owner}, not to {key}: it was copied from elsewhere")
    values, _, tensors = content.partition(b"\n")
    try:
        state: dict[str, Any] = _with_tensors(json.loads(values), safetensors.torch.load(tensors))
        iteration, wrong = state["iteration"], wrong_in(state)
    except Exception as error:  # what is not a checkpoint fails in many ways
        raise DamagedFile(path, f"cannot be loaded ({type(error).__name__})") from None
    if not isinstance(iteration, int) or not 0 <= iteration <= iterations:
        raise DamagedFile(path, f"is of iteration {iteration}, but the step has {iterations}")
    if wrong:
        raise DamagedFile(path, wrong)
    return state


def _without_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON can hold it; its tensors are put into `tensors`, by the names that stand for them."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()  # copied: two may share their memory
        return {"tensor": name}
    if isinstance(value, Mapping):  # as pairs: JSON has no keys but strings
        return {"pairs": [[key, _without_tensors(each, tensors)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return [_without_tensors(each, tensors) for each in value]
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_with_tensors(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    return {key: _with_tensors(each, tensors) for key, each in value["pairs"]}
