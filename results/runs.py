"""Reading the records of runs from a run store. No torch, no engine: files alone."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from issbench.errors import UsageError
from issbench.files import DamagedFile, read_json
from issbench.results.read_record import read_record
from issbench.results.record import FORMAT, Environment, Experiment, MethodFacts, Record, StepRecord
from issbench.text import printable_values

IMPORTED = " (imported)"
"""How the title of a method ends whose numbers come from other code."""


class RecordError(UsageError):
    """A record that is not there, or that this version cannot read."""


@dataclass(frozen=True)
class Run:
    """A run: its record, `run.json`, and its folder."""

    path: Path
    record: Record

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.path.name

    @property
    def store(self) -> Path:
        """The run store, to which the paths in the record are relative."""
        return self.path.parent.parent

    @property
    def experiment(self) -> Experiment:
        """What was asked for."""
        return self.record["experiment"]

    @property
    def spec(self) -> str:
        """The method as `--methods` takes it: the name, and the options that differ from the defaults."""
        return self.experiment["method"]

    @property
    def seed(self) -> int:
        """The seed."""
        return self.experiment["seed"]

    @property
    def scenario(self) -> str:
        """The scenario with its dataset, such as `voc_15-1`."""
        return self.experiment["scenario"]

    @property
    def setting(self) -> str:
        """`overlapped`, `disjoint`, `sequential`, `partitioned` (`partitioned:3`: another draw) or `domain`."""
        return self.experiment["setting"]

    @property
    def images(self) -> str:
        """The fraction of each step's training images that was used: `1`, `0.3`, or `0.3:7` for another draw."""
        return self.experiment.get("images", "1")

    @property
    def condition(self) -> str:
        """The setting, and the fraction of the images where not all were used: `overlapped, images 0.3`."""
        return self.setting + (f", images {self.images}" if self.images != "1" else "")

    @property
    def place(self) -> str:
        """Scenario and condition: `voc_15-1, overlapped`."""
        return f"{self.scenario}, {self.condition}"

    @property
    def order(self) -> str:
        """The class order; the natural one of all classes of VOC is the paper's A."""
        natural = self.experiment["order"] == "natural" and self.scenario.startswith("voc_")
        return "A" if natural and not self.experiment["classes"] else self.experiment["order"]

    @property
    def method(self) -> MethodFacts:
        """What the method's class declares, with all options as they were used."""
        return self.record["method"]

    @property
    def changed_options(self) -> dict[str, str]:
        """The options that differ from the dataset's defaults, as text."""
        pairs = (part.partition("=") for part in self.spec.partition(":")[2].split(",") if part)
        return {key: value for key, _, value in pairs}

    @property
    def label(self) -> str:
        """The method as tables and figures name it: `GSC (sg=off)`."""
        options = self.spec.partition(":")[2]
        return self.method["title"] + (f" ({options})" if options else "")

    @property
    def complete(self) -> bool:
        """Whether all steps are done."""
        return self.record["complete"]

    @property
    def imported(self) -> bool:
        """Whether the numbers come from another code base: recipe and training figures are then unknown (None)."""
        return self.record["source"] is not None

    @property
    def steps(self) -> list[StepRecord]:
        """The finished steps; at least one."""
        return self.record["steps"]

    @property
    def last(self) -> StepRecord:
        """The last finished step."""
        return self.steps[-1]

    @property
    def early_channels(self) -> int:
        """How many channels have had time to be forgotten: those that were known before the last step that the
        method trained."""
        if len(self.steps) < 2:
            return 0
        channels, before = len(self.record["class_names"]), self.steps[-2]["step"] + 1
        return channels if self.setting == "domain" else channels - sum(self.record["classes_per_step"][before:])

    @property
    def forgotten(self) -> list[float | None]:
        """IoU of each channel when first learned minus after the last step, in points: None for those that have had
        no time to be forgotten, and without a labelled pixel in the test images. Empty for an unfinished run."""
        lost, early = self.record["metrics"].get("forgetting") or [], self.early_channels
        return [*lost[:early], *[None] * len(lost[early:])]

    @property
    def environments(self) -> list[Environment]:
        """What each step was trained with; none of imported runs."""
        return [step["training"]["environment"] for step in self.steps if step["training"]]

    @property
    def unfinished(self) -> str:
        """How far an unfinished run is, and why it failed if it did: `unfinished, 3 of 6 steps done`."""
        done = f"unfinished, {len(self.steps)} of {self.record['num_steps']} steps done"
        reason = _failure(self.path / "outcome.json")
        return f"{done}; it failed: {reason}" if reason else done


def _failure(outcome: Path) -> str:
    """The reason in the file that the engine writes; empty where the run did not fail, or there is no such file."""
    try:
        found = read_json(outcome)
        return str(found["reason"]) if found["state"] == "failed" else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def load_runs(out: Path, brief: bool = False) -> list[Run]:
    """All runs of a store, sorted by name. Raises RecordError where the store or a record cannot be read.

    `brief`: without what tables do not need of a step (IoU of classes, counts, history); thousands of records then
    fit in memory.
    """
    environments: list[Environment] = []
    # A collection of garbage would go through all that was read so far, again and again, and find none.
    collecting = gc.isenabled()
    gc.disable()
    try:
        runs = (_load(folder) for folder in _folders(out))
        return [_brief(run, environments) if brief else run for run in runs]
    finally:
        if collecting:
            gc.enable()


def _folders(out: Path) -> list[Path]:
    """The folders of a store's runs that have a record, sorted."""
    if not (out / "runs").is_dir():
        raise RecordError(f"{out} is not a run store (it has no folder runs/); pass --out DIR as to `bench run`")
    return [path.parent for path in sorted((out / "runs").glob("*/run.json"))]


def _brief(run: Run, environments: list[Environment]) -> Run:
    """The run without what is long. Of equal environments one is kept, in `environments`, for all runs."""
    steps = []
    for step in run.steps:
        kept: dict[str, Any] = {"step": step["step"], "recipe": step["recipe"], "training": None}
        kept["metrics"] = {name: value for name, value in step["metrics"].items() if name != "iou"}
        if step["training"]:
            own = step["training"]["environment"]
            shared = next((known for known in environments if known == own), own)
            if shared is own:
                environments.append(own)
            kept["training"] = {"device": step["training"]["device"], "environment": shared}
        steps.append(kept)
    return Run(run.path, cast(Record, {**run.record, "steps": steps}))


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


def load_record(path: Path) -> Run:
    """The run whose record is this file, or lies in this folder, also away from its store. RecordError where there
    is none that can be read."""
    path = path / "run.json" if path.is_dir() else path
    return _read(path, None, "give the run.json of a run, as bench wrote it")


def find_run(out: Path, run: str) -> Run:
    """The run that a user names: by the path of its folder or of its record, or as `load_run` does."""
    path = Path(run)
    return load_record(path) if path.is_file() or (path / "run.json").is_file() else load_run(out, run)


def _load(folder: Path) -> Run:
    return _read(folder / "run.json", folder.name, "remove the folder and make the run again")


def _read(path: Path, key: str | None, remedy: str) -> Run:
    """The run of a record that belongs to `key` (None: to any); `remedy` is for a damaged one."""
    try:
        record = read_record(path, key)
    except OSError as error:
        raise RecordError(f"record {path} cannot be read: {error.strerror}") from None
    except DamagedFile as error:
        raise _other_format(path, _format_of(path)) or RecordError(f"record {error}; {remedy}") from None
    refused = _other_format(path, record.get("format"))
    if refused:
        raise refused
    if "experiment" not in record:
        raise RecordError(f"{path} is not the record of a run; give the run.json of its folder")
    return Run(path.parent, cast(Record, printable_values(record)))


def _format_of(path: Path) -> object:
    """The format that a file without a valid checksum names; None where it names none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["format"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _other_format(path: Path, format: object) -> RecordError | None:
    """What to say of a record of an older or a newer format; None for one of this version's, or of none."""
    if type(format) is not int or format == FORMAT:
        return None
    if format > FORMAT:
        return RecordError(f"record {path} has format {format}, this version reads {FORMAT}; update issbench")
    return RecordError(
        f"record {path} has format {format}, of issbench 0.1, whose keys covered neither images nor all code; "
        "remove the folder and make the run again"
    )
