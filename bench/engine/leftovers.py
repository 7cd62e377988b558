"""What killed processes leave in a store, and how it is removed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from issbench.bench.engine.distributed import in_main

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
_ABANDONED = 3600.0
"""Seconds without a sign of life: much more than the lease of a lock."""


@in_main
def tidy(root: Path, run: str, keys: Sequence[str]) -> None:
    """Remove what was left of a run that begins again, and of those of its steps that are finished.

    Its `outcome.json` must just have been written: that tells the time of the file system, which may have another
    clock.
    """
    finished = [key for key in keys if (root / "steps" / key).is_dir()]
    for key in finished:
        remove_needless(root / "steps", key)
    folders = [root / "runs" / run, *(root / "steps" / key for key in finished)]
    hidden = [path for folder in folders for path in folder.glob(".*")]
    hidden += [path for key in finished for path in (root / "steps").glob(f".{key}.*")]
    with suppress(OSError):
        _remove_abandoned(hidden, (root / "runs" / run / "outcome.json").stat().st_mtime)


def remove_needless(steps: Path, key: str) -> None:
    """Remove what only an unfinished step needs."""
    for name in ("checkpoint", "failed.json", "failed.safetensors"):
        (steps / f"{key}.{name}").unlink(missing_ok=True)


def _remove_abandoned(paths: Iterable[Path], now: float) -> None:
    """Remove those of the paths that are temporary and were not written to for long: their writer is dead, wherever
    it was."""
    for path in paths:
        with suppress(FileNotFoundError):
            if _TEMPORARY.fullmatch(path.name) and now - path.stat().st_mtime > _ABANDONED:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
