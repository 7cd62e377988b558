"""NaN and infinity in a training: found before anything of them is kept.

A term of the loss that is not finite is told with its iteration and its images. Weights and momenta that are not,
because a gradient was not although the loss was, never get into a checkpoint or a finished step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from issbench.bench.engine import distributed
from issbench.bench.engine.finite import flat, not_finite
from issbench.errors import RunError

if TYPE_CHECKING:
    from issbench.bench.engine.plan import StepPlan
    from issbench.bench.engine.store import Store
    from issbench.bench.engine.update import Training

_LOOK = 50
"""Iterations between two looks at the terms on a GPU, where to look is to wait for it."""


class Term(NamedTuple):
    """A term of the loss that is not finite. `iteration` counts from 0."""

    iteration: int
    name: str
    value: float


class NotFinite(Exception):
    """A term of the loss became NaN or infinite."""

    def __init__(self, term: Term):
        super().__init__(term)
        self.term = term


class Watch:
    """Looks at the terms that an objective returns, from iteration `start` on.

    On the CPU at once, before the update: the weights are still those that gave them. On a GPU the terms of several
    iterations together: then the weights are later ones. All processes see the same.
    """

    def __init__(self, objective: nn.Module, start: int):
        self._next, self._seen = start, list[tuple[int, tuple[str, ...], Tensor]]()
        objective.register_forward_hook(self._add)

    def look(self) -> None:
        """Raise NotFinite for the first term since the last look that is not finite."""
        seen, self._seen = self._seen, []
        values = torch.cat([values for *_, values in seen]).tolist() if seen else []
        names = ((iteration, name) for iteration, terms, _ in seen for name in terms)
        wrong = [Term(*name, v) for name, v in zip(names, values, strict=True) if not math.isfinite(v)]
        if distributed.any_of(bool(wrong))[0]:
            raise NotFinite(min(first for first in distributed.all_gather(wrong[:1]) if first)[0])

    def _add(self, objective: nn.Module, inputs: Any, terms: Mapping[str, Tensor]) -> None:
        values = torch.stack([value.detach().float() for value in terms.values()])
        self._seen.append((self._next, tuple(terms), values))
        self._next += 1
        if len(self._seen) == (_LOOK if values.is_cuda else 1):
            self.look()


class Guard:
    """Keeps NaN and infinity out of what the training of a step leaves, and says where they came from."""

    def __init__(self, training: Training, step: StepPlan, store: Store):
        self.training, self._step, self._store = training, step, store
        self._watch: Watch | None = None

    def start(self) -> None:
        """Watch the loss from here on."""
        self._watch = Watch(self.training.objective, self.training.iteration)

    def look(self) -> None:
        """RunError for a term of the loss that was not finite."""
        with self:
            if self._watch is not None:
                self._watch.look()

    def check(self) -> None:
        """RunError in all processes where anything of the training is not finite; so nothing of it may be kept."""
        self.look()
        found = distributed.all_gather(self._not_finite_in(self.training.state()))
        if wrong := next(filter(None, found), None):
            raise self._error(f"{wrong} of {self._name} is not finite after", self.training.iteration - 1)

    def wrong_in(self, state: Mapping[str, Any]) -> str | None:
        """What is wrong with a checkpoint that holds this state, if anything."""
        name = self._not_finite_in(state)
        return f"has NaN or infinity in {name}" if name else None

    def _not_finite_in(self, state: Mapping[str, Any]) -> str | None:
        """The name of the first number or tensor in a training's state that is NaN or infinite. Of the method's own
        state only what it learns must be finite: its buffers may hold what they like."""
        learned = dict(self.training.method.named_parameters())
        method = {name: value for name, value in state["method"].items() if name in learned}
        return not_finite(dict(flat({**state, "method": method})))

    def __enter__(self) -> None: ...

    def __exit__(self, _: Any, error: BaseException | None, trace: Any) -> None:
        """Around an iteration: a term that is not finite becomes a RunError."""
        if not isinstance(error, NotFinite):
            return
        # On the CPU the term is known before its update: then it is not what made weights NaN. (Statistics of norms
        # are of this iteration.)
        weights = {f"student.{name}": value for name, value in self.training.student.named_parameters()}
        early = all(weight.device.type == "cpu" for weight in weights.values())
        wrong = not_finite(weights) if early else None
        iteration, term, value = error.term
        if wrong and iteration:
            raise self._error(
                f"the gradient of {self._name}, whose loss was finite, made {wrong} NaN or infinite in",
                iteration - 1,
            ) from None
        raise self._error(f"the term {term} of {self._name} became {value} in", iteration) from None

    @property
    def _name(self) -> str:
        return self._step.method or "the first step"

    def _error(self, what: str, iteration: int) -> RunError:
        """The error for something in an iteration, counted from 0, with its images; keeps the state."""
        step, order = self._step, self._step.order
        ids = dict.fromkeys(step.train_ids[row] for _, row in order[max(0, iteration)])
        parts = {"student": self.training.student.state_dict(), "method": self.training.method.state_dict()}
        tensors = {name: value.clone() for name, value in flat(parts)}  # two names of one tensor cannot be written
        place = self._store.save_failed_state(step.key, tensors)
        return RunError(
            f"{what} iteration {iteration + 1} of {len(order)} of step {step.index}, whose images are "
            f"{', '.join(ids)}; lower the learning rate (--set lr=…, --set first_lr=…) or the weight of a term"
            + (f"; network and method as they were then are in {place}" if place else "")
        )
