"""Writing files so that a reader, or a crash, never meets half of one, and reading them so that a damaged or a
foreign one is never believed. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from issbench.errors import RunError, UsageError

_SEAL = b',\n "sha256": "'


class DamagedFile(RunError):
    """A file that was cut off, altered, or belongs to something else."""

    def __init__(self, path: Path, why: str):
        super().__init__(path, why)  # as they are, so that another process gets the same error
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path} {self.why}"


def write_sealed(path: Path, value: Mapping[str, Any], key: str) -> None:
    """Write a JSON object that says what it belongs to (`key`), with a SHA-256 of all before it (`sha256`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(sealed(value, key))


def sealed(value: Mapping[str, Any], key: str) -> bytes:
    """The text that `write_sealed` writes."""
    body = json.dumps({**value, "key": key}, indent=1).encode().removesuffix(b"\n}")
    return body + _SEAL + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def read_sealed(path: Path, key: str | None = None) -> dict[str, Any]:
    """The object that `write_sealed` wrote, without the seal.

    Raises DamagedFile where the checksum is wrong or missing, or where the file belongs to another key; OSError
    where there is no such file.
    """
    content = path.read_bytes()
    body, mark, tail = content.rpartition(_SEAL)
    if not mark or tail != hashlib.sha256(body).hexdigest().encode() + b'"\n}\n':
        raise DamagedFile(path, "does not have the checksum with which it was written: it was cut off or altered")
    value: dict[str, Any] = json.loads(body + b"\n}")
    found = value.pop("key")
    if key is not None and found != key:
        raise DamagedFile(path, f"belongs to {found}, not to {key}: it was copied from elsewhere")
    return value


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The content of a file that the user named. UsageError, which calls it `what`, for one that cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise UsageError(f"{what} {path} is not a valid TOML file: {error}") from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed `.npz`, whole or not at all."""
    save: Callable[..., None] = np.savez_compressed  # its stub takes an array for the option allow_pickle
    with replacing(path) as temporary, temporary.open("wb") as file:
        save(file, **arrays)


class replacing:
    """A temporary file beside `path` that takes its place, durable, when the block ends without an error."""

    def __init__(self, path: Path):
        self.path = path
        self.temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")

    def __enter__(self) -> Path:
        self.temporary.touch(exist_ok=False)
        self.mode = self.temporary.stat().st_mode
        return self.temporary

    def __exit__(self, failed: type | None, *_: object) -> None:
        if failed:
            self.temporary.unlink(missing_ok=True)
            return
        self.temporary.chmod(self.mode)  # as files are here by default: some libraries make theirs private
        with self.temporary.open("rb+") as file:
            os.fsync(file.fileno())
        self.temporary.replace(self.path)
