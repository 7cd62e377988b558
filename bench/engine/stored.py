"""The files of a finished step: how they are written, sealed, checked and set aside."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from issbench.bench.engine.finite import not_finite
from issbench.files import (
    ALTERED,
    DamagedFile,
    check_sha256,
    read_bytes,
    read_sealed,
    sha256_of,
    write_bytes,
    write_sealed,
)
from issbench.results.record import Record
from issbench.wellformed import misfit

T = TypeVar("T")

_SEALED = ("weights.safetensors", "method.safetensors")


def write_step(
    folder: Path,
    key: str,
    identity: Mapping[str, Any],
    training: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
) -> None:
    """Write the files of a finished step into a folder."""
    write_sealed(folder / "identity.json", {"identity": identity}, key)
    write_sealed(folder / "training.json", training, key)
    for name, tensors in zip(_SEALED, (weights, state), strict=True):
        _save_tensors(folder / name, tensors)
    write_sealed(folder / "seal.json", {name: sha256_of(folder / name) for name in _SEALED}, key)


def read_identity(folder: Path, key: str) -> dict[str, Any]:
    """What the key of a finished step is a hash of."""
    identity: dict[str, Any] = read_sealed(folder / "identity.json", key)["identity"]
    return identity


def load_tensors(folder: Path, name: str, key: str) -> dict[str, Tensor]:
    """`weights` or the state of the `method` after a finished step, on the CPU. DamagedFile, or
    FileNotFoundError."""
    path = folder / f"{name}.safetensors"
    return _checked(path, _checksum(folder / "seal.json", key, path.name))


def load_weights(folder: Path, key: str) -> dict[str, Tensor]:
    """The network of a finished step, on the CPU. DamagedFile also where it is not finite, or FileNotFoundError."""
    weights = load_tensors(folder, "weights", key)
    if wrong := not_finite(weights):
        raise DamagedFile(folder / "weights.safetensors", f"has NaN or infinity in {wrong}")
    return weights


def write_if_possible(path: Path, tensors: Mapping[str, Tensor]) -> Path | None:
    """Write named tensors that only people look at; None where the file system refuses."""
    try:
        _save_tensors(path, tensors)
    except OSError:
        return None
    return path


def write_extra(folder: Path, name: str, key: str, state: Mapping[str, Tensor]) -> None:
    """Add named tensors to a finished step."""
    path = folder / f"{name}.safetensors"
    _save_tensors(path, state)
    write_sealed(folder / f"{name}.json", {path.name: sha256_of(path)}, key)


def load_extra(folder: Path, name: str, key: str) -> dict[str, Tensor] | None:
    """Named tensors beside a finished step; None where there are none. DamagedFile."""
    path, seal = folder / f"{name}.safetensors", folder / f"{name}.json"
    try:
        return _checked(path, _checksum(seal, key, path.name))
    except FileNotFoundError:
        return None


class Evaluation(TypedDict):
    """What is kept of a test beside the counts of its images."""

    counts: dict[str, list[int]]
    """Their sums, for each channel."""
    images: int
    seconds: float
    """On average for each kind of counts."""
    counts_sha256: str


def read_evaluation(folder: Path, name: str, key: str) -> Evaluation:
    """The facts of a test. DamagedFile where they, or the counts beside them, cannot be trusted;
    FileNotFoundError."""
    path = folder / f"{name}.json"
    facts, counts = read_formed(path, key, Evaluation), path.with_suffix(".npz")
    check_sha256(counts, facts["counts_sha256"])
    return facts


def has_more(there: Record, record: Record) -> bool:
    """Whether a record says more than a partial one of the same run: it is complete, or has more steps, and the
    same as far as the other goes."""
    old, new = ([step["key"] for step in each["steps"]] for each in (there, record))
    return there["complete"] or (len(old) > len(new) and old[: len(new)] == new)


def read_formed(path: Path, key: str, kind: type[T]) -> T:
    """The object of a sealed file, which has the form of a TypedDict. DamagedFile; OSError."""
    found = read_sealed(path, key)
    if wrong := misfit(found, kind, "it"):
        raise DamagedFile(path, f"does not hold what belongs there: {wrong}")
    return cast(T, found)


def remove_remains(steps: Path, key: str) -> None:
    """Remove what killed processes left half written; only the holder of the lock may call this."""
    for remains in steps.glob(f".{key}.*"):
        shutil.rmtree(remains) if remains.is_dir() else remains.unlink()


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(plain))


def _checked(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors of a file, from the very bytes whose checksum is right."""
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedFile(path, ALTERED)
    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise DamagedFile(path, f"does not hold tensors ({error})") from None
    return tensors


def _checksum(path: Path, key: str, name: str) -> str:
    """The checksum of a file, as the sealed file beside it has it."""
    found = read_sealed(path, key).get(name)
    if type(found) is not str:
        raise DamagedFile(path, f"does not have the checksum of {name}")
    return found


def size_of(tensors: Mapping[str, Tensor]) -> int:
    """The bytes of tensors, apart from their names."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
