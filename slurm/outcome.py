"""What a run store tells of its runs, from files alone and quickly for thousands. Needs no torch."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from issbench.bench.engine.progress import Position

_KEY = re.compile(r'"key": "([^"]*)"')
_FRESH = 120.0
"""Seconds after the last sign of life in which a run counts as alive that nobody else knows of."""


@dataclass(frozen=True)
class Outcome:
    """What `run.json` says in brief."""

    experiment: dict[str, Any]
    complete: bool
    keys: tuple[str, ...]
    """Of the steps that are done."""


def read_outcome(folder: Path) -> Outcome | None:
    """What a run has come to; None before its first step, or where the record cannot be read.

    Only what stands before the steps is parsed: to parse thousands of whole records takes seconds.
    """
    try:
        text = (folder / "run.json").read_text(encoding="utf-8")
        head, _, steps = text.partition(',\n "steps": ')
        record = json.loads(head + "}")
        return Outcome(record["experiment"], record["complete"], tuple(_KEY.findall(steps)))
    except (OSError, ValueError, KeyError):
        return None


def is_fresh(position: Position | None) -> bool:
    """Whether a training has given a sign of life just now."""
    return position is not None and time.time() - position.updated < _FRESH


def run_folders(out: Path) -> list[Path]:
    """The folders of all runs of a store."""
    runs = out / "runs"
    return sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
