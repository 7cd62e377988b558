"""Reading the records of runs from a run store. No torch, no engine: files alone."""

from __future__ import annotations

import gc
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


_BRIEF = ("step", "iou", "groups", "miou")


def load_runs(out: Path, brief: bool = False) -> list[Run]:
    """All runs of a store, sorted by name. Raises RecordError where the store or a record cannot be read.

    `brief`: without what tables do not need of a step (counts, training); thousands of records then fit in memory.
    """
    # A collection of garbage would go through all that was read so far, again and again, and find none.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [_brief(_load(folder)) if brief else _load(folder) for folder in _folders(out)]
    finally:
        if collecting:
            gc.enable()


def _folders(out: Path) -> list[Path]:
    """The folders of a store's runs that have a record, sorted."""
    if not (out / "runs").is_dir():
        raise RecordError(f"{out} is no run store (it has no folder runs/); pass --out DIR as to `bench run`")
    return [path.parent for path in sorted((out / "runs").glob("*/run.json"))]


def _brief(run: Run) -> Run:
    steps = [{key: step[key] for key in _BRIEF if key in step} for step in run.record["steps"]]
    steps[-1]["recipe"] = run.last.get("recipe")
    return Run(run.path, run.record | {"steps": steps})


def load_run(out: Path, name: str) -> Run:
    """The run with this name, or with this unambiguous beginning of a name or of its hash at the end."""
    names = [folder.name for folder in _folders(out)]
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
