"""How long the steps that a command must train will take: at the rates of steps of the same kind in the store, else
at those of a short measurement. An estimate, for `--dry-run` alone; no result depends on it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal, NamedTuple

import torch

from issbench.bench.engine.environment import arithmetic, environment, synchronise
from issbench.bench.engine.loading import default_workers
from issbench.bench.engine.plan import Plan, StepPlan
from issbench.bench.engine.samples import TrainingSamples
from issbench.bench.engine.speed import Pair, Workload, make_batch, set_up
from issbench.bench.engine.store import Store
from issbench.bench.engine.stored import read_formed, read_identity
from issbench.bench.engine.trial import try_plan
from issbench.bench.free_memory import available
from issbench.files import DamagedFile, read_sealed
from issbench.results.record import Training

MOST_SECONDS = 8.0
"""For all measurements together; nothing is begun later, and what was begun is ended."""
_SMALLEST = 64
"""Side of the smallest crop that is measured, in pixels."""
_FORWARD = 1 / 3
"""What the test of an image takes of its training: the forward pass without the backward pass."""
_READ, _READING = 16, 0.3
"""Images that are read to see how long that takes, and seconds for it."""
_NO_MATTER = ("epochs", "lr", "momentum", "weight_decay", "power", "warmup", "scale_min", "scale_max")
"""Settings that change no time of an iteration."""

Source = Literal["recorded", "measured", "alike"]


class Rate(NamedTuple):
    """Seconds of an image in training, and in the test."""

    train: float
    test: float


@dataclass(frozen=True)
class Forecast:
    """An estimate for several steps."""

    seconds: float
    steps: Mapping[Source, int]
    """How many of them are at a rate that the store has, at one just measured, or, where there was no time to
    measure, at the mean of the others."""


def forecast(
    plans: Sequence[Plan], store: Store, missing: Iterable[str], threads: int | None, workers: int | None
) -> Forecast | None:
    """The time of the missing steps of plans, one after the other, on this machine; None where there is none to
    train, or no rate is known. `threads` and `workers` as in `run`."""
    wanted, places = {*missing}, dict[str, tuple[Plan, StepPlan]]()
    for plan in plans:
        places |= {step.key: (plan, step) for step in plan.steps if step.key in wanted}
    kinds = {key: _kind(step.identity) for key, (_, step) in places.items()}
    # The last of a kind has most classes; what trains on most images comes first.
    examples = {kinds[key]: place for key, place in places.items()}
    images = Counter[str]()
    for key, (_, step) in places.items():
        images[kinds[key]] += step.images_seen
    examples = {kind: examples[kind] for kind, _ in images.most_common()}
    if not places:
        return None
    with arithmetic(plans[0].device, threads):
        recorded = _recorded(store, set(examples), plans[0].device)
        unknown = {kind: place for kind, place in examples.items() if kind not in recorded}
        measured = _measured(unknown, workers) if unknown else {}
    known = recorded | measured
    if not known:
        return None
    mean = Rate(*(sum(each) / len(known) for each in zip(*known.values(), strict=True)))
    seconds, sources = 0.0, Counter[Source]()
    for key, (_, step) in places.items():
        kind = kinds[key]
        rate = known.get(kind, mean)
        seconds += rate.train * step.images_seen + rate.test * len(step.view.data.test.ids)
        sources["recorded" if kind in recorded else "measured" if kind in measured else "alike"] += 1
    return Forecast(seconds, sources)


def _kind(identity: Mapping[str, Any]) -> str:
    """What of a step's identity decides the time of an image: the method, the network, crop and batch."""
    method = identity["method"]
    plain = {"name": method["name"], "options": method["options"]} if isinstance(method, dict) else method
    recipe = {name: value for name, value in identity["recipe"].items() if name not in _NO_MATTER}
    return json.dumps([plain, recipe, identity["dataset"]], sort_keys=True, default=str)


def _recorded(store: Store, kinds: set[str], device: torch.device) -> dict[str, Rate]:
    """The rates of steps that this machine has trained into the store."""
    found: dict[str, list[Rate]] = {}
    here = _machine(environment(device, ""))
    folders = store.root / "steps"
    for folder in folders.iterdir() if folders.is_dir() else ():
        with suppress(OSError, DamagedFile, KeyError, TypeError):  # one that is not whole tells no rate
            kind = _kind(read_identity(folder, folder.name))
            if kind not in kinds:
                continue
            training = read_formed(folder / "training.json", folder.name, Training)
            if _machine(training["environment"]) != here or training["processes"] != 1:
                continue
            train = training["seconds"] / training["images"]
            tests = [read_sealed(path, folder.name) for path in folder.glob("evaluation-*.json")]
            test = sum(each["seconds"] / each["images"] for each in tests)
            found.setdefault(kind, []).append(Rate(train, test or train * _FORWARD))
    return {kind: Rate(*map(median, zip(*rates, strict=True))) for kind, rates in found.items()}


def _machine(facts: Mapping[str, Any]) -> tuple[object, ...]:
    """What of an environment decides the speed."""
    return facts["cpu"], facts["gpu"], facts["threads"]


def _measured(examples: Mapping[str, tuple[Plan, StepPlan]], workers: int | None) -> dict[str, Rate]:
    """The rates of a few iterations of steps: half of the time for the first, of what is left half for the next."""
    found, shortest = dict[str, Rate](), 0.0
    until = time.monotonic() + MOST_SECONDS
    for kind, (plan, step) in examples.items():
        started = time.monotonic()
        if started + shortest > until:
            break
        with suppress(Exception):  # a method that cannot be measured is estimated as the others are
            seconds = _seconds_of_image(plan, step, started + (until - started) / 2)
            train, test = (_with_reading(plan, step, each, workers) for each in (seconds, seconds * _FORWARD))
            found[kind] = Rate(train, test)
        shortest = min(shortest or MOST_SECONDS, time.monotonic() - started)
    return found


def _seconds_of_image(plan: Plan, step: StepPlan, until: float) -> float:
    """Of a training iteration on noise: measured in the smallest size, then in the largest for which there is time,
    and where that is not the recipe's, drawn on from the two."""
    sizes = list(_sizes(plan, step))
    first = _workload(step, *sizes[0], plan.device)
    pair = set_up(step.method_class, step.options, first)
    points = [(_pixels(sizes[0]), _seconds_of(pair, until))]
    left, (pixels, seconds) = until - time.monotonic(), points[0]
    larger = [size for size in sizes[1:] if 2 * seconds * _pixels(size) / pixels < left]
    if larger:
        images, labels = make_batch(_workload(step, *larger[-1], plan.device), 1)
        points.append((_pixels(larger[-1]), _seconds_of(replace(pair, images=images, labels=labels), until)))
    return _drawn_on(points, _pixels((step.recipe.batch, step.recipe.crop))) / step.recipe.batch


def _with_reading(plan: Plan, step: StepPlan, seconds: float, workers: int | None) -> float:
    """Seconds of an image when it must be read, too: beside the training by other processes, or before it."""
    readers = default_workers(plan.dataset) if workers is None else workers
    reading = _seconds_of_reading(plan, step)
    return max(seconds, reading / readers) if readers else seconds + reading


def _seconds_of_reading(plan: Plan, step: StepPlan) -> float:
    """Of an image and its label, cut for the training."""
    pairs, view = plan.data.pairs, step.view.data.train
    samples = TrainingSamples(pairs, view, step.recipe, step.seed, step.index, step.memory)
    started, rows = time.monotonic(), 0
    while rows < min(len(step.train_ids), _READ) and time.monotonic() < started + _READING:
        samples[0, rows]
        rows += 1
    return (time.monotonic() - started) / rows


def _pixels(size: tuple[int, int]) -> int:
    batch, crop = size
    return batch * crop * crop


def _seconds_of(pair: Pair, until: float) -> float:
    """Of an iteration: of the second one, if there is time, since the first does what is needed once."""
    seconds = 0.0
    for _ in range(2):
        started = time.monotonic()
        pair.iterate(pair.step)
        synchronise(pair.images.device)
        seconds = time.monotonic() - started
        if time.monotonic() + seconds > until:
            break
    return seconds


def _drawn_on(points: Sequence[tuple[int, float]], pixels: int) -> float:
    """Seconds for so many pixels, from one or two smaller amounts: a part of an iteration does not grow."""
    (before, less), (last, most) = points[0], points[-1]
    slope = (most - less) / (last - before) if most > less else most / last
    return most + slope * (pixels - last)


def _sizes(plan: Plan, step: StepPlan) -> Iterator[tuple[int, int]]:
    """Batches and crops up to the recipe's, the smallest first, as far as the memory certainly reaches."""
    batch, crop = step.recipe.batch, step.recipe.crop
    free, need = available(), try_plan(plan, step)
    sides = [side for side in (crop // 4, crop // 2) if side >= _SMALLEST and side % 32 == 0]
    sizes = [(2, side) for side in sides] + [(2, crop)]
    while sizes[-1][0] < batch:
        sizes.append((min(batch, 4 * sizes[-1][0]), crop))
    for place, (images, side) in enumerate(sizes):
        most = need.fixed + need.image * images * (side / crop) ** 2
        if place and plan.device.type == "cpu" and free is not None and 2 * most > free:
            return
        yield images, side


def _workload(step: StepPlan, batch: int, crop: int, device: torch.device) -> Workload:
    """The step in another size, as `bench speed` measures one: with all classes before it in one step."""
    channels = step.channels_per_step
    classes = max(3, sum(channels))
    new = min(channels[-1], classes - 2) if len(channels) > 1 else 1
    recipe = replace(step.recipe, batch=batch, crop=crop, weights="none")
    return Workload(recipe=recipe, classes=classes, new=new, device=device)
