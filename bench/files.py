"""Writing files so that a reader, or a crash, never meets half of one. Needs no torch."""

from __future__ import annotations

import json
import os
import tomllib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UsageError


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
        raise UsageError(f"{what} {path} is no TOML: {error}") from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a compressed `.npz`, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


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
