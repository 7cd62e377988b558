"""Label maps for pictures of finished runs: predictions after a step, and the labels that a method trained on.

A run is given by its record. Label maps hold the dataset's labels (0 … N, 255), whatever the order of learning, so
that a class has one colour in all pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from issbench.bench.data import open_data
from issbench.bench.engine.assemble import step_of
from issbench.bench.engine.plan import Plan, StepPlan, make_plan
from issbench.bench.engine.predict import Predictor, load_predictor
from issbench.bench.engine.stored import load_tensors
from issbench.bench.experiment import experiment_of
from issbench.errors import UsageError
from issbench.methods.method import Batch, Method
from issbench.results.record import Record
from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import IGNORE, Dataset
from issbench.scenarios.decoded import Pairs
from issbench.scenarios.scenario import make_scenario
from issbench.scenarios.transforms import evaluation_pair

_LOOKS = 400
"""Label maps that are read at most to choose images."""


def channel_labels(names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """From channels, by their names, to the labels of a dataset with these classes: uint8 [256]."""
    place = {name: label for label, name in enumerate(classes, start=1)}
    table = np.arange(256, dtype=np.uint8)
    for channel, name in enumerate(names):
        table[channel] = place.get(name, 0 if classes else channel)
    return table


@dataclass(frozen=True)
class Sample:
    """An image as a network is tested on it: uint8 [3, S, S], and its labels uint8 [S, S]."""

    name: str
    image: Tensor
    truth: np.ndarray

    @property
    def pixels(self) -> np.ndarray:
        """The image as uint8 [S, S, 3]."""
        return self.image.permute(1, 2, 0).numpy()


class Scene:
    """The images of runs that differ in method and seed alone. Reads no label until it is asked to."""

    def __init__(self, record: Record, data: str | None = None):
        self.experiment = experiment_of(record["experiment"], data)
        dataset = load_dataset(self.experiment.dataset, self.experiment.data)
        self.domain = self.experiment.setting == "domain"
        self.dataset: Dataset = dataset.with_domains() if self.domain else dataset
        self.table = channel_labels(record["class_names"], self.dataset.classes)

    @cached_property
    def _steps(self) -> tuple[tuple[int, ...], ...]:
        e = self.experiment
        return make_scenario(e.scenario, self.dataset, e.setting, e.order, e.classes).steps

    @property
    def names(self) -> dict[int, str]:
        """The class names by label, as legends have them."""
        return {0: self.dataset.background or "none", **dict(enumerate(self.dataset.classes, start=1))}

    def choose(self, count: int) -> list[str]:
        """The first test images with classes of the first step and of later ones, which show what is forgotten and
        learned; else the first ones."""
        ids = self.dataset.ids("test")
        if self.domain:
            return list(ids[:: max(1, len(ids) // count)][:count])
        early = set(self._steps[0])
        late = {label for step in self._steps[1:] for label in step}
        return _first_with(self.dataset, ids, [early, late], count)

    def sample(self, name: str) -> Sample:
        """An image of the dataset, cut as in the test; classes outside the scenario are background."""
        if name not in self._known:
            like = self.dataset.ids("test")[0]
            raise UsageError(f"{self.dataset.name} has no image {name!r}; its ids look like {like}")
        return _cut(self.dataset, name, self._shown, self.experiment.recipe.crop)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.dataset.ids("test") + self.dataset.ids("train"))

    @cached_property
    def _shown(self) -> np.ndarray:
        table = np.arange(256, dtype=np.uint8)
        if not self.domain:
            hidden = set(range(1, len(self.dataset.classes) + 1)) - {c for step in self._steps for c in step}
            table[list(hidden)] = 0
        return table

    def predictions(self, predictor: Predictor, samples: Sequence[Sample]) -> Iterator[np.ndarray]:
        """The predicted labels uint8 [S, S] of each sample."""
        for sample in samples:
            yield self.table[predictor.labels(sample.image[None])[0]]


def _cut(dataset: Dataset, name: str, table: np.ndarray, crop: int) -> Sample:
    image, label = evaluation_pair(*Pairs(dataset).pair(name), table, crop)
    return Sample(name, image, label.numpy())


def _first_with(dataset: Dataset, ids: Sequence[str], wanted: Sequence[set[int]], count: int) -> list[str]:
    """Prefer images with a class of every set, and with distinct combinations of classes; fill up with others."""
    found: dict[frozenset[int], str] = {}
    more: list[str] = []
    for name in ids[:_LOOKS]:
        held = frozenset(np.unique(dataset.label(name)).tolist())
        if all(group & held for group in wanted):
            more.append(name)
            found.setdefault(held & frozenset().union(*wanted), name)
        if len(found) == count:
            break
    return list(dict.fromkeys([*found.values(), *more, *ids]))[:count]


class Relabelling:
    """The labels that methods give to a step's training images (`Method.targets`), from runs of one scenario."""

    def __init__(self, record: Record, step: int, device: torch.device, data: str | None = None):
        experiment = experiment_of(record["experiment"], data)
        if experiment.setting in ("domain", "sequential"):
            raise UsageError(f"the setting {experiment.setting} gives all labels: there are no pseudo-labels")
        self.data, self.device, self.root = open_data(experiment), device, data
        plan = make_plan(experiment, self.data, device)
        indices = [each.index for each in plan.steps if each.previous]
        if step not in indices:
            raise UsageError(
                f"{experiment.method} has no pseudo-labels at step {step} of {experiment.scenario}; it has them at "
                f"{', '.join(map(str, indices)) or 'no step'}"
            )
        self.index, self.experiment, self.step = step, experiment, _step(plan, step)
        self._learned = plan.scenario.steps[: step + 1]

    def choose(self, count: int) -> list[str]:
        """The first training images of the step in which old classes lie hidden in the background."""
        old = {label for labels in self._learned[:-1] for label in labels}
        ids = self.step.view.data.train.ids
        return _first_with(self.data.dataset, ids, [old, set(self._learned[-1])], count)

    def sample(self, name: str) -> Sample:
        """A training image of the step with the labels that the step gives (channels)."""
        ids = self.step.view.data.train.ids
        if name not in ids:
            raise UsageError(f"step {self.index} does not train on an image {name!r}; its first one is {ids[0]}")
        return _cut(self.data.dataset, name, self.step.view.data.train.table, self.experiment.recipe.crop)

    def targets(self, record: Record, store: Path, samples: Sequence[Sample]) -> list[np.ndarray]:
        """What a run's method makes of the samples' labels: uint8 [S, S] in the dataset's labels.

        The student is the network after the step, the teacher the one before; statistics are those of the training.
        """
        plan = make_plan(experiment_of(record["experiment"], self.root), self.data, self.device)
        entry = next(each for each in record["steps"] if each["step"] == self.index)
        student = load_predictor(store / "steps" / str(entry["key"]), self.device)
        teacher = load_predictor(store / "steps" / student.identity["previous"], self.device)
        method = _restored(plan, _step(plan, self.index), student)
        table = channel_labels(record["class_names"], self.data.dataset.classes)
        return [table[self._target(method, student, teacher, sample)] for sample in samples]

    @torch.no_grad()
    def _target(self, method: Method, student: Predictor, teacher: Predictor, sample: Sample) -> np.ndarray:
        labels = torch.from_numpy(sample.truth)[None].long().to(self.device)
        images, stages = sample.image[None], method.uses_stages
        old = teacher.output(images, stages) if method.uses_teacher else None
        targets = method.targets(Batch(labels, student.output(images, stages), old))
        return targets.clamp(max=IGNORE)[0].byte().cpu().numpy()


def _step(plan: Plan, index: int) -> StepPlan:
    return next(step for step in plan.steps if step.index == index)


def _restored(plan: Plan, step: StepPlan, student: Predictor) -> Method:
    """The method with the state that it had at the end of the step. UsageError where its code has changed since."""
    method = step.method_class(step.options, step_of(step.place, student.network))
    folder = student.folder
    try:
        state = load_tensors(folder, "method", folder.resolve().name)
        lacking = method.load_state_dict(state, strict=False).missing_keys
        reason = f"it lacks {', '.join(lacking)}" if lacking else ""
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
    if reason:
        raise UsageError(f"the state in {folder} does not fit {method.name} ({reason}); `bench run` it again")
    return method.to(student.device).eval()
