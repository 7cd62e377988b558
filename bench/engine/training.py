"""The training of one step: the one loop that all methods share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from issbench.bench.engine import distributed as processes
from issbench.bench.engine.environment import peak_memory, reset_peak_memory, seed_torch, versions
from issbench.bench.engine.loading import BatchOrder, Loader, Part
from issbench.bench.engine.network import Network, start_new_classes, synchronise_norms
from issbench.bench.engine.plan import Plan, StepPlan, step_of
from issbench.bench.engine.progress import Reporter
from issbench.bench.engine.seeds import derive_seed
from issbench.bench.engine.store import Store
from issbench.bench.engine.update import Training, autocast, make_optimizer, update
from issbench.errors import RunError
from issbench.methods.method import Batch, Batches, Method, NoOptions


class StepTrainer:
    """Trains one step of a plan and writes its result to the store.

    Where several processes train together, all of them do this; the main one reads and writes the store.
    """

    def __init__(self, plan: Plan, step: StepPlan, store: Store, loader: Loader, reporter: Reporter):
        self.plan, self.step, self.store, self.loader, self.reporter = plan, step, store, loader, reporter
        self.device = loader.device
        rows, settings = len(step.data.train.ids), step.settings
        self.order = BatchOrder(rows, settings["batch"], settings["epochs"], step.seed, step.index)

    def run(self, checkpoint_every: float) -> None:
        """Train from the start, or from the checkpoint of an earlier attempt, and save the step."""
        reset_peak_memory(self.device)
        training = self._set_up()
        checkpoint = processes.from_main(lambda: self.store.load_checkpoint(self.step.key))
        if checkpoint is None:
            previous = self._previous_state() if self.step.method else {}
            with torch.no_grad():
                training.method.begin(training.student, self._look(training.teacher, None), previous)
        else:
            training.restore(checkpoint, self.device)
            self.reporter.note(f"resuming at iteration {training.iteration} of {len(self.order)}")
        self._loop(training, checkpoint_every)
        training.student.eval()
        training.method.end(training.student, self._look(None, training.student))
        _check_architecture(training.student, training.plain)
        processes.from_main(lambda: self._save(training))

    def _save(self, training: Training) -> None:
        summary = {
            "seconds": training.seconds,
            "images": self.step.images_seen,
            "train_images": len(self.step.data.train.ids),
            "history": training.history,
            "peak_memory_bytes": peak_memory(self.device),
            "device": str(self.device),
            "processes": processes.count(),
            "versions": versions(),
        }
        weights, state = training.student.state_dict(), training.method.state_dict()
        self.store.save_step(self.step.key, self.step.identity, summary, weights, state)

    def _set_up(self) -> Training:
        """Student, teacher, method and optimiser at the beginning of the step."""
        step = self.step
        seed_torch(derive_seed(step.seed, "initialisation", step.index), self.device)
        student = make_network(
            step, step.channels_per_step, step.settings["weights"] if not step.previous else "none"
        )
        method_class = self.plan.method if step.method else Method
        options = step.options if step.method else NoOptions()
        teacher = None
        if step.previous:
            weights = processes.from_main(lambda: self.store.load_weights(step.previous))
            student.load_state_dict(weights, strict=False)  # the group of the new classes is not in there
            old = step.channels_per_step if step.data.domain else step.channels_per_step[:-1]
            if method_class.uses_teacher:
                teacher = make_network(step, old, "none")
                teacher.load_state_dict(weights)
                teacher.requires_grad_(False).eval().to(self.device, memory_format=torch.channels_last)
            if len(old) < len(step.channels_per_step):
                start_new_classes(student, method_class.new_classifier)
        student = student.to(self.device, memory_format=torch.channels_last)
        method = method_class(options, step_of(step, student.feature_channels, student.encoder_channels))
        plain = list(student.state_dict())
        method.to(self.device).prepare(student)
        student = synchronise_norms(student, self.device)
        return Training(student, teacher, method, make_optimizer(student, method, step.settings), plain)

    def _loop(self, training: Training, checkpoint_every: float) -> None:
        """All iterations that are left. Nothing in here waits for the device but the end of an epoch."""
        started = saved = time.monotonic()
        before = training.seconds
        training.student.train()
        self.reporter.start_training(self.step.index, self.order.epochs, len(self.order), training.iteration)
        for part in self.loader.training(self.step.data.train, self.order, training.iteration):
            self._iterate(training, part)
            training.iteration += 1
            training.seconds = before + time.monotonic() - started
            if training.iteration % self.order.per_epoch == 0:
                self._end_epoch(training)
            self.reporter.advance(training.iteration)
            due = processes.is_main() and time.monotonic() - saved >= checkpoint_every
            stop, save = processes.any_of(self.loader.asked.asked, due)
            if stop or save:
                processes.from_main(lambda: self.store.save_checkpoint(self.step.key, training.state()))
                saved = time.monotonic()
            if stop:
                raise KeyboardInterrupt
        self.reporter.end_training()

    def _iterate(self, training: Training, part: Part) -> None:
        """One update of the student."""
        settings, index = self.step.settings, training.iteration
        rate = settings["lr"] * (1 - index / len(self.order)) ** settings["power"]
        for group in training.optimizer.param_groups:
            group["lr"] = rate
        # Random branches or dropout of a method depend on the iteration alone, not on what ran before.
        seed_torch(derive_seed(self.step.seed, "noise", self.step.index, index), self.device)
        terms = update(training, part.images, part.labels, settings["precision"] == "bf16", part.share)
        for name, value in terms.items():
            training.sums[name] = training.sums[name] + value if name in training.sums else value

    def _end_epoch(self, training: Training) -> None:
        names = list(training.sums)
        means = (torch.stack([training.sums[n] for n in names]) / self.order.per_epoch).tolist()
        for name, value in zip(names, means, strict=True):
            if not math.isfinite(value):
                raise RunError(
                    f"the term {name} of {self.step.method or 'the first step'} became {value} in epoch "
                    f"{len(training.history) + 1} of step {self.step.index}; lower the learning rate "
                    "(--set lr=…, --set first_lr=…) or that term's weight"
                )
        training.history.append(dict(zip(names, means, strict=True)))
        training.sums = {}
        self.reporter.end_epoch(len(training.history), training.history[-1], training.iteration, training.seconds)

    def _previous_state(self) -> dict[str, Tensor]:
        """The state that the method left after the previous step.

        After the first step, which all methods share, a method with `after_first_step` is asked for it now.
        """
        previous = self.step.previous
        if previous is None:
            return {}
        plans = {plan.key: plan for plan in self.plan.steps}
        if plans[previous].method is not None or self.plan.method.after_first_step is Method.after_first_step:
            return processes.from_main(lambda: self.store.load_state(previous)) or {}
        name = self.plan.state_name()
        state = processes.from_main(lambda: self.store.load_state(previous, name))
        if state is None:
            state = self._state_after_first_step(plans[previous])
            processes.from_main(lambda: self.store.save_state(previous, name, state))
        return state

    def _state_after_first_step(self, first: StepPlan) -> dict[str, Tensor]:
        seed_torch(derive_seed(first.seed, "noise", 0, "end"), self.device)
        network = make_network(first, first.channels_per_step, "none")
        network.load_state_dict(processes.from_main(lambda: self.store.load_weights(first.key)))
        network.eval().to(self.device, memory_format=torch.channels_last)
        step = step_of(first, network.feature_channels, network.encoder_channels)
        method = self.plan.method(self.plan.options, step).to(self.device)
        self.reporter.note(f"{method.name} looks back at the first step")
        method.after_first_step(network, self._look(None, network, first))
        return method.state_dict()

    def _look(self, teacher: nn.Module | None, student: nn.Module | None, step: StepPlan | None = None) -> Batches:
        """Passes over the images of a step (this one by default) for the hooks that look at them."""
        step = step or self.step

        def batches() -> Iterator[Batch]:
            for part in self.loader.once(step.data.train):
                with autocast(self.device, step.settings["precision"] == "bf16"):
                    seen = None if student is None else student(part.images, stages=True)
                    old = None if teacher is None else teacher(part.images, stages=True)
                yield Batch(part.labels, seen, old, part.share)

        return batches


def make_network(step: StepPlan, channels_per_step: tuple[int, ...], weights: str) -> Network:
    """The network of a step's recipe with the given classifier groups."""
    settings = step.settings
    return Network(
        settings["backbone"], weights, settings["output_stride"], settings["aspp_channels"], channels_per_step
    )


def try_architecture(plan: Plan) -> None:
    """Let the method change a network as it will at its second step, so that one with which it cannot work is
    refused before the first step trains."""
    if len(plan.steps) > 1 and plan.method.prepare is not Method.prepare:
        step = plan.steps[1]
        network = make_network(step, step.channels_per_step, "none")
        method = plan.method(plan.options, step_of(step, network.feature_channels, network.encoder_channels))
        method.prepare(network)


def _check_architecture(student: nn.Module, names: list[str]) -> None:
    """A finished student must have the tensors of a plain network, which the next step and the test expect."""
    wrong = set(names) ^ set(student.state_dict())
    if wrong:
        raise RunError(
            f"after the step the network differs from a plain one, first in {min(wrong)}; a method that changes "
            "the architecture in `prepare` must change it back in `end`"
        )
