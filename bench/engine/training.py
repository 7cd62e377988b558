"""The training of one step: the one loop that all methods share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from issbench.bench.engine import distributed
from issbench.bench.engine.assemble import assemble, make_network, nudge, on_device, step_of
from issbench.bench.engine.diagnosis import Examiner
from issbench.bench.engine.environment import environment, peak_memory, reset_peak_memory, seed_generators
from issbench.bench.engine.guard import Guard
from issbench.bench.engine.loading import Loader, Share
from issbench.bench.engine.network import Network
from issbench.bench.engine.order import BatchOrder
from issbench.bench.engine.plan import Plan, StepPlan
from issbench.bench.engine.progress import Reporter
from issbench.bench.engine.record import exemplar_facts
from issbench.bench.engine.seeds import derive_seed
from issbench.bench.engine.store import Store
from issbench.bench.engine.update import Training, autocast, set_rate, update
from issbench.errors import RunError
from issbench.methods.method import Batch, Batches, Method


def train(training: Training, share: Share, order: BatchOrder) -> None:
    """One update of the student. Random branches or dropout of a method depend on the iteration alone, not on what
    ran before."""
    set_rate(training.optimizer, training.recipe, training.iteration, len(order))
    seed_generators(derive_seed(order.seed, "noise", order.step, training.iteration), share.images.device)
    training.add(update(training, share.images, share.labels, share.weight, share.replayed))


class StepTrainer:
    """Trains one step of a plan and writes its result to the store."""

    def __init__(
        self, plan: Plan, step: StepPlan, store: Store, loader: Loader, reporter: Reporter, diagnose: bool = False
    ):
        self.plan, self.step, self.store, self.loader, self.reporter = plan, step, store, loader, reporter
        self.device, self.order = loader.device, step.order
        self._examiner = Examiner(plan, step, loader, diagnose)

    def run(self, checkpoint_every: float) -> None:
        """Train from the start, or from the checkpoint of an earlier attempt, and save the step."""
        reset_peak_memory(self.device)
        training = self._set_up()
        guard = Guard(training, self.step, self.store)
        checkpoint = self.store.load_checkpoint(self.step.key, len(self.order), guard.wrong_in)
        if checkpoint is None:
            self._begin(training)
            self._save_checkpoint_at(Method.begin, guard)
        else:
            training.restore(checkpoint, self.device)
            self._examiner.found = checkpoint.get("diagnosis", [])
            self.reporter.note(f"resuming at iteration {training.iteration} of {len(self.order)}")
        self._loop(training, guard, checkpoint_every)
        self._save_checkpoint_at(Method.end, guard)
        self._end(training)
        guard.check()
        self._save(training)

    def _save_checkpoint_at(self, hook: Callable[..., None], guard: Guard) -> None:
        """After `begin` and before `end`, where the method has such a hook, which may take long: else a job whose
        time is shorter than the hook and the way from or to a checkpoint would never get further."""
        if getattr(self.step.method_class, hook.__name__) is not hook:
            self._save_checkpoint(guard)

    def _save_checkpoint(self, guard: Guard) -> None:
        guard.check()
        state = guard.training.state()
        self.store.save_checkpoint(self.step.key, {**state, "diagnosis": self._examiner.found})

    def _set_up(self) -> Training:
        """Student, teacher, method and optimiser at the beginning of the step."""
        step = self.step
        seed_generators(derive_seed(step.seed, "initialisation", step.index), self.device)
        previous = self.store.load_weights(step.previous) if step.previous else None
        training = assemble(step.place, step.method_class, step.options, step.recipe, previous, self.device)
        if draw := step.recipe.nudge:
            nudge(training.student, derive_seed(step.seed, "nudge", step.index, draw))
        return training

    def _begin(self, training: Training) -> None:
        """The hook before the first iteration, with the state that the method left after the step before."""
        state = self._previous_state()
        seed_generators(derive_seed(self.step.seed, "noise", self.step.index, "begin"), self.device)
        with torch.no_grad():
            training.method.begin(training.student, self._passes(teacher=training.teacher), state)

    def _end(self, training: Training) -> None:
        """The hook after the last iteration. It must leave a plain network, which the next step and the test
        expect."""
        training.student.eval()
        seed_generators(derive_seed(self.step.seed, "noise", self.step.index, "end"), self.device)
        method = training.method
        method.end(training.student, self._passes(student=training.student))
        if self.step.previous and type(method).fuse is not Method.fuse:
            with torch.no_grad():
                method.fuse(training.student, self.store.load_weights(self.step.previous))
        wrong = training.plain_tensor_names ^ set(training.student.state_dict())
        if wrong:
            raise RunError(
                f"after the step the network differs from a plain one, first in {min(wrong)}; a method that "
                "changes the architecture in `prepare` must change it back in `end`"
            )

    def _save(self, training: Training) -> None:
        summary = {
            "seconds": training.seconds,
            "images": self.step.images_seen,
            "train_images": len(self.step.train_ids),
            "history": training.history,
            "peak_memory_bytes": peak_memory(self.device),
            "device": str(self.device),
            "processes": distributed.world_size(),
            "environment": environment(self.device, self.step.recipe.precision),
        }
        if self.step.memory.ids:
            summary["exemplars"] = exemplar_facts(self.step.memory, self.plan.dataset)
        if self._examiner.found:
            summary["diagnosis"] = self._examiner.found
        weights, state = training.student.state_dict(), training.method.state_dict()
        self.store.save_step(self.step.key, self.step.identity, summary, weights, state)

    def _loop(self, training: Training, guard: Guard, checkpoint_every: float) -> None:
        """All iterations that are left. Nothing in here waits for a GPU but the end of an epoch, and a look at the
        loss now and then."""
        started = saved = time.monotonic()
        before, step = training.seconds, self.step
        training.method.set_training_mode(training.student)
        guard.start()
        self.reporter.start_training(step.index, self.order.epochs, len(self.order), training.iteration)
        started += self._look(training)
        for share in self.loader.training(step.view.data.train, self.order, training.iteration, step.memory):
            with guard:
                train(training, share, self.order)
            training.iteration += 1
            training.seconds = before + time.monotonic() - started
            if training.iteration % self.order.per_epoch == 0:
                self._end_epoch(training, guard)
                started += self._look(training)
            self.reporter.advance(training.iteration)
            due = distributed.is_main() and time.monotonic() - saved >= checkpoint_every
            stop, save = distributed.any_of(self.loader.interruption.requested, due)
            if stop or save:
                self._save_checkpoint(guard)
                saved = time.monotonic()
            if stop:
                self.loader.interruption.stop()
        self.reporter.end_training()

    def _end_epoch(self, training: Training, guard: Guard) -> None:
        guard.look()
        means = training.end_epoch(self.order.per_epoch)
        self.reporter.end_epoch(len(training.history), means, training.iteration, training.seconds)

    def _look(self, training: Training) -> float:
        """A diagnosis, where one is due; the seconds that it took, which are not the training's."""
        started = time.monotonic()
        self._examiner.look(training)
        return time.monotonic() - started

    def _previous_state(self) -> dict[str, Tensor]:
        """The state that the method left after the previous step. After the first step, which all methods share, a
        method with the hook `after_first_step` is asked for it now."""
        previous = self.step.previous
        if previous is None:
            return {}
        before = next(step for step in self.plan.steps if step.key == previous)
        if before.method is not None:
            return self.store.load_state(previous)
        if self.plan.method.after_first_step is Method.after_first_step:
            return {}
        name = self.plan.state_name()
        state = self.store.load_first_state(previous, name)
        if state is None:
            state = self._state_after_first_step(before)
            self.store.save_first_state(previous, name, state)
        return state

    def _state_after_first_step(self, first: StepPlan) -> dict[str, Tensor]:
        seed_generators(derive_seed(first.seed, "noise", 0, "end"), self.device)
        network = make_network(first.recipe, first.channels_per_step, "none")
        network.load_state_dict(self.store.load_weights(first.key))
        network = on_device(network.eval(), self.device)
        method = self.plan.method(self.plan.options, step_of(first.place, network)).to(self.device)
        self.reporter.note(f"{method.name} looks back at the first step")
        method.after_first_step(network, self._passes(student=network, step=first))
        return method.state_dict()

    def _passes(
        self, student: Network | None = None, teacher: Network | None = None, step: StepPlan | None = None
    ) -> Batches:
        """Passes over the images of a step (this one by default) for the hooks of the method."""
        step = step or self.step

        def batches() -> Iterator[Batch]:
            for share in self.loader.once(step.view.data.train):
                with autocast(self.device, step.recipe):
                    seen = None if student is None else student(share.images, stages=True)
                    old = None if teacher is None else teacher(share.images, stages=True)
                yield Batch(share.labels, seen, old, share.weight)

        return batches
