"""Results of other code bases as records of runs, so that tables, figures and statistics show them beside ours.
Needs no torch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from issbench.bench.data import name_of
from issbench.bench.identity import what_differs
from issbench.bench.metrics import Context, metrics_for, run_values
from issbench.bench.store_format import make_store
from issbench.files import sha256_of, write_sealed
from issbench.results.counts import ClassGroup, harmonic_mean, mean_of_group
from issbench.results.record import FORMAT, Experiment, MethodFacts, Record, RunMetrics, Score, Source, StepRecord
from issbench.results.runs import IMPORTED, RecordError, load_run
from issbench.scenarios.datasets import dataset_class
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.groups import channel_names, class_groups
from issbench.scenarios.protocol import Protocol
from issbench.scenarios.scenario import Scenario, make_scenario, parse_name


@dataclass(frozen=True)
class Imported:
    """What the numbers are of, which their file does not say: the method's title, and what was asked for."""

    title: str
    scenario: str
    setting: str
    order: str
    seed: int
    protocol: Protocol

    def open(self) -> tuple[Scenario, Dataset]:
        """The scenario, and a dataset that knows its classes and domains and lists no image."""
        name = parse_name(self.scenario)[0]
        found = dataset_class(name)
        if not getattr(found, "classes", ()):
            raise RecordError(f"dataset {name} has the classes of its files; results on it cannot be imported")
        dataset: Dataset = object.__new__(found)
        return make_scenario(self.scenario, dataset, self.setting, self.order), dataset

    def channels_per_step(self) -> list[int]:
        """Channels of the classifier after each step, with that of the background."""
        scenario, dataset = self.open()
        if self.setting == "domain":
            return [len(channel_names(scenario, dataset))] * len(scenario.steps)
        sizes = [len(step) for step in scenario.steps]
        return [1 + sum(sizes[: t + 1]) for t in range(len(sizes))]

    @property
    def method(self) -> MethodFacts:
        """The method as tables name it; figures choose how they draw it."""
        return {
            "name": f"{self.title.lower()}-imported", "title": f"{self.title}{IMPORTED}", "options": {},
            "parts": [], "order": None, "colour": "", "marker": "", "dashes": "", "cite": "", "upper_bound": False,
        }  # fmt: skip

    @property
    def experiment(self) -> Experiment:
        """As in the records of our own runs; the recipe is unknown."""
        return {
            "method": self.method["name"], "scenario": self.scenario, "setting": self.setting, "order": self.order,
            "classes": [], "seed": self.seed, "protocol": dataclasses.asdict(self.protocol), "recipe": None,
            "data": None, "dataset": parse_name(self.scenario)[0], "metrics": [],
            "differs": {"protocol": what_differs(self.protocol), "recipe": {}},
        }  # fmt: skip


def imported_record(steps: Mapping[int, list[Score]], what: Imported, file: Path, format: str) -> Record:
    """A run's record from the IoU (%) of each channel after its steps, as `file` has them; what the file does not
    tell (recipe, training, counts) is None."""
    scenario, dataset = what.open()
    groups, sizes = class_groups(scenario, dataset, what.protocol), [len(step) for step in scenario.steps]
    context = Context(groups, what.protocol.absent == "zero", len(sizes))
    records = [_step(step, iou, context) for step, iou in steps.items()]
    complete = list(steps) == list(range(len(sizes)))
    source: Source = {"format": format, "file": file.name, "sha256": sha256_of(file)}
    return {
        "format": FORMAT,
        "source": source,
        "experiment": what.experiment,
        "data": None,
        "dataset_content": None,
        "method": what.method,
        "protocol": what.protocol.summary(),
        "class_names": channel_names(scenario, dataset),
        "group_spans": {"named": groups["named"], "printed": groups["printed"]},
        "classes_per_step": sizes,
        "num_steps": len(sizes),
        "complete": complete,
        "steps": records,
        "metrics": cast(RunMetrics, run_values(metrics_for(()), records, context) if complete else {}),
    }


def _step(step: int, iou: list[Score], context: Context) -> StepRecord:
    means: dict[str, dict[str, Score]] = {
        kind: {
            name: mean_of_group(iou, ClassGroup(first, last, context.absent_is_zero))
            for name, (first, last) in groups.items()
        }
        for kind, groups in context.groups.items()
    }
    hiou = harmonic_mean(means["named"].get("base"), means["named"].get("new"))
    return {
        "step": step, "key": None,
        "metrics": {"iou": iou, "miou": means["named"], "groups": means["printed"], "hiou": hiou},
        "counts": None, "evaluations": None, "test_images": None, "test_seconds": None, "recipe": None,
        "training": None,
    }  # fmt: skip


def save_imported(out: Path, record: Record) -> Path:
    """Write the record as a run of the store, which is made where there is none; returns its folder. The same file
    again changes nothing.

    Raises RecordError where another file was imported as the same experiment.
    """
    experiment = record["experiment"]
    identity = json.dumps({key: value for key, value in experiment.items() if key != "data"}, sort_keys=True)
    digest = hashlib.blake2b(identity.encode(), digest_size=4).hexdigest()
    method = experiment["method"].replace("*", "_")
    name = f"{name_of(experiment['scenario'], experiment['setting'], method, experiment['seed'])}-{digest}"
    folder = out / "runs" / name
    if (folder / "run.json").exists():
        old = load_run(out, name).record["source"]
        if old != record["source"]:
            raise RecordError(
                f"{folder} is there already, from {old['file'] if old else 'a run'}; pass another --method or "
                "--seed, or remove it"
            )
    make_store(out)
    write_sealed(folder / "run.json", record, name)
    return folder
