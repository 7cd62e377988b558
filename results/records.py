"""Reading the records of runs from a run store. No torch, no engine: files alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

KNOWN_FORMATS = (1,)


class RecordError(ValueError):
    """A record that is not there, or that this version cannot read."""

    exit_code = 2


@dataclass(frozen=True)
class Run:
    """A run's record, `run.json`, and its folder."""

    path: Path
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.path.name

    @property
    def experiment(self) -> dict[str, Any]:
        """The experiment as plain values."""
        return self.record["experiment"]

    @property
    def complete(self) -> bool:
        """Whether all steps are done."""
        return self.record["complete"]

    @property
    def last(self) -> dict[str, Any]:
        """The record of the last finished step."""
        return self.record["steps"][-1]

    @cached_property
    def comparable(self) -> str:
        """Equal for runs that may stand in one table: all of the experiment but method and seed, and the
        arithmetic in which `precision=auto` ended."""
        rest = {k: v for k, v in self.experiment.items() if k not in ("method", "seed", "data")}
        return json.dumps([rest, self.last["recipe"]["precision"]], sort_keys=True)


def load_runs(out: Path) -> list[Run]:
    """All runs of a store, sorted by name. Raises RecordError where the store or a record cannot be read."""
    if not (out / "runs").is_dir():
        raise RecordError(f"{out} is no run store (it has no folder runs/); pass --out DIR as to `bench run`")
    return [_load(path.parent) for path in sorted((out / "runs").glob("*/run.json"))]


def load_run(out: Path, name: str) -> Run:
    """The run with this name, or with this unambiguous beginning of a name or of its hash at the end."""
    names = [run.name for run in load_runs(out)]
    found = [n for n in names if n == name] or [n for n in names if n.startswith(name) or n.endswith(name)]
    if len(found) == 1:
        return _load(out / "runs" / found[0])
    if found:
        raise RecordError(f"{name!r} fits {len(found)} runs: {', '.join(found[:5])}; give more of the name")
    raise RecordError(f"no run {name!r} in {out}; it has {', '.join(names[:10]) or 'none'}")


def _load(folder: Path) -> Run:
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise RecordError(f"record {path} cannot be read ({error}); remove the folder and run again") from None
    if record.get("format") not in KNOWN_FORMATS:
        raise RecordError(
            f"record {path} has format {record.get('format')!r}; this version reads {KNOWN_FORMATS}; update it"
        )
    return Run(folder, record)
