"""Reading the records of runs from a run store. No torch, no engine: files alone."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from issbench.errors import UsageError

KNOWN_FORMATS = (1, 2)
"""The last one is what this version writes; older ones are read as if they were of that format."""


class RecordError(UsageError):
    """A record that is not there, or that this version cannot read."""


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
    def store(self) -> Path:
        """The run store, to which the paths in the record are relative."""
        return self.path.parent.parent

    @property
    def experiment(self) -> dict[str, Any]:
        """The experiment as plain values."""
        return self.record["experiment"]

    @property
    def complete(self) -> bool:
        """Whether all steps are done."""
        return self.record["complete"]

    @property
    def imported(self) -> bool:
        """Whether the numbers come from another code base: recipe and training figures are then unknown (None)."""
        return self.record.get("source") is not None

    @property
    def last(self) -> dict[str, Any]:
        """The record of the last finished step."""
        return self.record["steps"][-1]

    @cached_property
    def cell(self) -> str:
        """Equal for runs that answer the same question: all of the experiment but method, recipe and seed."""
        return self._key("method", "seed", "recipe")

    @cached_property
    def comparable(self) -> str:
        """Equal for runs that may stand in one table: all of the experiment but method and seed, and the
        arithmetic in which `precision=auto` ended. An imported run's recipe is unknown: see `agrees`."""
        return self.comparable_but()

    def comparable_but(self, *varied: str) -> str:
        """`comparable`, for tables whose rows or columns tell these entries of the experiment apart."""
        precision = None if self.imported else self.last["recipe"]["precision"]
        return json.dumps([self._key("method", "seed", *varied), precision])

    def agrees(self, other: Run, *varied: str) -> bool:
        """Whether two runs differ in nothing but method, seed, recipe, and what a table tells apart."""
        return self._key("method", "seed", "recipe", *varied) == other._key("method", "seed", "recipe", *varied)

    @property
    def order(self) -> str:
        """The class order; the natural one of all classes of VOC is the paper's A."""
        experiment = self.experiment
        natural = experiment["order"] == "natural" and experiment["scenario"].startswith("voc_")
        return "A" if natural and not experiment["classes"] else experiment["order"]

    def _key(self, *without: str) -> str:
        rest = {k: v for k, v in self.experiment.items() if k not in (*without, "data")}
        if "order" in rest:
            rest["order"] = self.order
        return json.dumps(rest, sort_keys=True)


_BRIEF = ("step", "groups")


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
    return _load(out / "runs" / find_name(out, [folder.name for folder in _folders(out)], name))


def find_name(out: Path, names: Sequence[str], name: str) -> str:
    """The name that is this one, begins or ends with it. RecordError where none does, or several do."""
    found = [n for n in names if n == name] or [n for n in names if n.startswith(name) or n.endswith(name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RecordError(f"{name!r} fits {len(found)} runs: {', '.join(found[:5])}; give more of the name")
    raise RecordError(f"no run {name!r} in {out}; it has {', '.join(names[:10]) or 'none'}")


def _load(folder: Path) -> Run:
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"record {path} cannot be read ({error}); remove the folder and run again") from None
    return Run(folder, _migrated(record, path))


def _migrated(record: Any, path: Path) -> dict[str, Any]:
    """A record of any known format as one of the newest; RecordError for what would be misread."""
    found = record.get("format") if isinstance(record, dict) else None
    if type(found) is int and found > KNOWN_FORMATS[-1]:
        raise RecordError(
            f"record {path} has format {found}, newer than this version reads {KNOWN_FORMATS}; update issbench"
        )
    if type(found) is not int or found not in KNOWN_FORMATS:
        raise RecordError(
            f"record {path} has format {found!r}; this version reads {KNOWN_FORMATS}; remove it and run again"
        )
    missing = [
        key
        for key, kind in (("experiment", dict), ("complete", bool), ("steps", list))
        if not isinstance(record.get(key), kind)
    ]
    if missing or not record["steps"]:
        lacks = ", ".join(missing) or "a finished step"
        raise RecordError(f"record {path} lacks {lacks}: it is damaged; remove the folder and run again")
    return _from_1(record) if found == 1 else record


def _from_1(record: dict[str, Any]) -> dict[str, Any]:
    """Format 1 knew only measured runs, and kept neither counts of single images nor the spans of the groups."""
    steps = [{"evaluation": None} | step for step in record["steps"]]
    return {"source": None, "group_spans": None} | record | {"format": 2, "steps": steps}
