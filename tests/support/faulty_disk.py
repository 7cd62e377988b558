"""Disks that are full, and that can be read alone: mounted for a test, where it runs as root on Linux."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """`mount OPTIONS PLACE` around a block. Skips the test where it may not mount."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a disk to fill")
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def small_disk(place: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes."""
    return mounted(place, "-t", "tmpfs", "-o", f"size={size}", "none")  # type: ignore[return-value]


@contextmanager
def read_only(place: Path) -> Iterator[None]:
    """A folder that can only be read, also by root."""
    with mounted(place, "--bind", str(place)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        yield


def fill(place: Path, leave: int = 0) -> Path:
    """Fill a disk but for some bytes; returns the file that does, which may be removed."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        free = shutil.disk_usage(place).free - leave
        file.write(bytes(max(0, free)))
    return filler
