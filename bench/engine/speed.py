"""What a method costs: an iteration of its training beside its floor, alternately, in one process.

The floor is what no implementation of the method can avoid: its own student trained with cross-entropy alone,
and the teacher's forward pass where it has a teacher. Data loading is left out of both.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from issbench.bench.engine.assemble import assemble, make_network, on_device, step_of
from issbench.bench.engine.environment import (
    arithmetic,
    peak_memory,
    reset_peak_memory,
    seed_generators,
    synchronise,
)
from issbench.bench.engine.memory import check_memory, memory_told
from issbench.bench.engine.network import Network
from issbench.bench.engine.plan import decided
from issbench.bench.engine.seeds import derive_seed
from issbench.bench.engine.trial import try_step
from issbench.bench.engine.update import Training, autocast, update
from issbench.bench.experiment import parse_method
from issbench.bench.free_memory import available
from issbench.bench.recipe import Recipe
from issbench.methods.interface.options import resolved_options
from issbench.methods.interface.registry import load_method, method_info
from issbench.methods.method import IGNORE, Batch, Batches, Method, NoOptions, Step

_SEED = 0
_WARM_UP, _LEAST_ROUNDS, _LEAST_SECONDS = 2, 5, 5.0  # rounds, and seconds; both of the latter are reached
_BATCHES = 2  # that the hooks `begin` and `end` see
_BLOCKS = 8  # of one label, along each side of an image
_PROFILED = 3  # iterations; the median of each operation is reported
_RATE = 1e-12
_LOWER = "lower --batch or --crop, or take a smaller --backbone"


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What every method is measured on: the first step after the base step, in the size that the recipe says."""

    recipe: Recipe
    classes: int
    """Channels of the student, background included."""
    new: int
    """How many of them the step adds."""
    device: torch.device
    threads: int | None = None
    """Threads that compute on the CPU, see `threads_for`."""

    @property
    def step_recipe(self) -> Recipe:
        """The recipe of the measured step, with a rate at which the optimiser works as ever but the weights
        stay."""
        return decided(replace(self.recipe.for_step(1), lr=_RATE), self.device)

    def place(self, index: int) -> Step:
        """The base step (index 0), and the measured one (index 1)."""
        return Step(index, (self.classes - 1 - self.new, self.new)[: index + 1])


@dataclass(frozen=True)
class Pair:
    """A method's floor and its step: the same student, teacher and optimiser, on the same batch."""

    floor: Training
    step: Training
    images: Tensor
    labels: Tensor

    def iterate(self, training: Training) -> dict[str, Tensor]:
        """One iteration of either, as the engine makes it."""
        return update(training, self.images, self.labels)


class Operation(NamedTuple):
    """Seconds that an operation takes itself in an iteration, all its calls together."""

    name: str
    floor: float
    step: float


@dataclass(frozen=True)
class Speed:
    """What was measured for a method; `floor` and `step` are seconds of an iteration, by round."""

    method: str
    batch: int
    floor: tuple[float, ...]
    step: tuple[float, ...]
    memory: tuple[int | None, int | None]
    """Peak memory of the tensors during an iteration of floor and step, in bytes; with weights and the like."""
    operations: tuple[Operation, ...] = ()
    """Those that take longest beyond the floor first; empty unless asked for."""

    @property
    def ratios(self) -> tuple[float, ...]:
        """Step over floor in each round. Machines drift, so only times of the same round are compared."""
        return tuple(step / floor for floor, step in zip(self.floor, self.step, strict=True))

    @property
    def ratio(self) -> float:
        """Median of the ratios."""
        return median(self.ratios)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the ratios."""
        return tuple(np.quantile(self.ratios, (0.25, 0.75)).tolist())

    @property
    def images_per_second(self) -> float:
        """Images that the method trains on in a second, loading excluded."""
        return self.batch / median(self.step)


def resolve(spec: str) -> tuple[type[Method], Any]:
    """Class and options of `gsc:lambda1=0.5`."""
    name, given = parse_method(spec)
    method_class = load_method(name)
    return method_class, method_class.Options(**resolved_options(method_info(name), "", given))


def measure(
    spec: str,
    method_class: type[Method],
    options: Any,
    workload: Workload,
    rounds: int | None = None,
    with_operations: bool = False,
    seconds: float = _LEAST_SECONDS,
) -> Speed:
    """Measure one method; `rounds` by default until there are enough of them and the seconds are over."""
    recipe, device = workload.step_recipe, workload.device
    method: Any = method_class
    need = try_step(workload.place(1), method, options, recipe, not method.cumulative)
    if device.type == "cpu" and (free := available()) is not None:
        check_memory(need, recipe, 0, 1, free, spec, _LOWER)
    gc.collect()  # a method may lie in a cycle of references with its networks: those of the one before, …
    with memory_told(spec, device, _LOWER), arithmetic(device, workload.threads):
        pair = set_up(method_class, options, workload)
        gc.collect()  # … and that of the base step
        for _ in range(_WARM_UP):
            pair.iterate(pair.floor)
            pair.iterate(pair.step)
        floor, step = _time_alternately(pair, rounds, seconds)
        memory = _peak(pair, pair.floor), _peak(pair, pair.step)
        operations = _compare_operations(pair) if with_operations else ()
    return Speed(spec, workload.recipe.batch, floor, step, memory, operations)


def set_up(method_class: type[Method], options: Any, workload: Workload) -> Pair:
    """Floor and step as the engine sets up a step, with random weights and images."""
    recipe = workload.step_recipe
    seed_generators(_SEED, workload.device)
    old = make_network(recipe, (workload.classes - workload.new,), "none", method_class.Head)
    weights = None if method_class.cumulative else {name: t.clone() for name, t in old.state_dict().items()}
    step = assemble(workload.place(1), method_class, options, recipe, weights, workload.device)
    base = on_device(old, workload.device)
    state = {} if weights is None else _state_after_first_step(method_class, options, base, workload)
    with torch.no_grad():
        step.method.begin(step.student, _passes(workload, 1, teacher=step.teacher), state)
    step.method.set_training_mode(step.student)
    plain = _Floor(NoOptions(), step.method.step)
    floor = Training(step.student, step.teacher, plain, step.optimizer, recipe, step.plain_tensor_names)
    return Pair(floor, step, *make_batch(workload, 1))


def make_batch(workload: Workload, step: int, index: int = 0) -> tuple[Tensor, Tensor]:
    """Noise as images [B, 3, H, W], and labels [B, H, W] in blocks: half of them background, then the classes of
    the step (0: the base step, 1: the measured one) and ignored pixels in equal parts."""
    generator = torch.Generator().manual_seed(derive_seed(_SEED, "batch", step, index))
    batch, crop, base = workload.recipe.batch, workload.recipe.crop, workload.classes - workload.new
    images = torch.randn(batch, 3, crop, crop, generator=generator)
    labelled = range(base, workload.classes) if step else range(1, base)
    values = torch.tensor([*[0] * (len(labelled) + 1), *labelled, IGNORE])
    blocks = values[torch.randint(len(values), (batch, 1, _BLOCKS, _BLOCKS), generator=generator)]
    labels = nnf.interpolate(blocks.float(), size=(crop, crop), mode="nearest")[:, 0].long()
    return images.to(workload.device, memory_format=torch.channels_last), labels.to(workload.device)


def _state_after_first_step(
    method_class: type[Method], options: Any, network: Network, workload: Workload
) -> dict[str, Tensor]:
    """The state that a method draws from the finished first step."""
    own = method_class.own_first_step
    if method_class.after_first_step is Method.after_first_step and not own:
        return {}
    method = method_class(options, step_of(workload.place(0), network)).to(workload.device)
    (method.end if own else method.after_first_step)(network.eval(), _passes(workload, 0, student=network))
    return method.state_dict()


class _Floor(Method):
    """Cross-entropy over the student's channels, of which a head of a method's own may have fewer than classes."""

    def targets(self, batch: Batch) -> Tensor:
        return torch.where(batch.labels == IGNORE, IGNORE, batch.labels % batch.student.low_logits.shape[1])


def _passes(
    workload: Workload, step: int, student: Network | None = None, teacher: Network | None = None
) -> Batches:
    """What stands for a pass over the images of a step in the hooks of a method."""

    def batches() -> Iterator[Batch]:
        for index in range(_BATCHES):
            images, labels = make_batch(workload, step, index)
            with autocast(workload.device, workload.step_recipe):
                seen = None if student is None else student(images, stages=True)
                old = None if teacher is None else teacher(images, stages=True)
            yield Batch(labels, seen, old)

    return batches


def _time_alternately(pair: Pair, rounds: int | None, least: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Seconds of floor and step by round; the one that comes first changes with each round."""
    floor, step = list[float](), list[float]()
    both = [(pair.floor, floor), (pair.step, step)]
    end = time.perf_counter() + (0 if rounds else least)
    while len(step) < (rounds or _LEAST_ROUNDS) or time.perf_counter() < end:
        for training, times in both:
            synchronise(pair.images.device)
            before = time.perf_counter()
            pair.iterate(training)
            synchronise(pair.images.device)
            times.append(time.perf_counter() - before)
        both.reverse()
    return tuple(floor), tuple(step)


def _peak(pair: Pair, training: Training) -> int | None:
    """Peak memory of the tensors during an iteration, in bytes."""
    device = pair.images.device
    if device.type == "cuda":
        reset_peak_memory(device)
        pair.iterate(training)
        return peak_memory(device)
    # The profiler only sees memory allocated while it runs, so two iterations are profiled and the second one's
    # peak is used.
    training.optimizer.zero_grad(set_to_none=True)
    held = _held(pair)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        pair.iterate(training)
        pair.iterate(training)
    events = [event for event in trace.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return held + peak


def _held(pair: Pair) -> int:
    """Bytes of what stays between two iterations: weights, the method's and the optimiser's state, the batch."""
    training = pair.step
    modules = [module for module in (training.student, training.teacher, training.method) if module is not None]
    tensors = [pair.images, pair.labels]
    tensors += [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    states = training.optimizer.state.values()
    tensors += [value for state in states for value in state.values() if isinstance(value, Tensor)]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _compare_operations(pair: Pair) -> tuple[Operation, ...]:
    """Where the time goes, most beyond the floor first."""
    runs = [[_operations(pair, training) for training in (pair.floor, pair.step)] for _ in range(_PROFILED)]
    names = sorted({name for run in runs for times in run for name in times})
    operations = [Operation(n, *(median(run[i].get(n, 0.0) for run in runs) for i in (0, 1))) for n in names]
    return tuple(sorted(operations, key=lambda operation: operation.floor - operation.step))


def _operations(pair: Pair, training: Training) -> dict[str, float]:
    """Seconds on the device by operation, what it calls not included."""
    on_gpu = pair.images.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as trace:
        pair.iterate(training)
        synchronise(pair.images.device)
    # Kernels have rows of their own, too; their time is in the operations that launched them.
    events = [event for event in trace.key_averages() if event.device_type == DeviceType.CPU]
    return {e.key: (e.self_device_time_total if on_gpu else e.self_cpu_time_total) / 1e6 for e in events}
