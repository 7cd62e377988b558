"""A look at a step while it trains (`--diagnose`): what its pseudo-labels, its terms and its gradients are like.

A few of the step's images are seen, without augmentation and in evaluation mode, before the first iteration and
after each quarter of the training. The training goes on as if nobody had looked: the method is a copy, the student
only computes, and each iteration and hook seeds the generators before it draws from them.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from issbench.bench.engine import distributed
from issbench.bench.engine.environment import seed_generators
from issbench.bench.engine.loading import Loader
from issbench.bench.engine.plan import Plan, StepPlan
from issbench.bench.engine.samples import Normalise, Samples
from issbench.bench.engine.seeds import derive_seed
from issbench.bench.engine.update import Training, autocast
from issbench.errors import RunError, reason_of
from issbench.methods.equations.common import entropy
from issbench.methods.equations.compensation import class_groups, gradient_size
from issbench.methods.interface.head import Classifier
from issbench.methods.method import IGNORE, Batch, Method, Step
from issbench.results.record import Diagnosis, PseudoLabels
from issbench.scenarios.views import View

_IMAGES, _PARTS = 32, 4
Sums = dict[str, Tensor]
"""Sums over images, by name."""


class Examiner:
    """Looks at a step in training, if that was asked for and there was a step before. `found` has what it saw."""

    def __init__(self, plan: Plan, step: StepPlan, loader: Loader, asked: bool):
        self.found: list[Diagnosis] = []
        self._plan, self._step, self._loader = plan, step, loader
        ends = (math.ceil(step.order.epochs * part / _PARTS) for part in range(_PARTS + 1))
        self._due = {*ends} if asked and step.index else set[int]()

    def look(self, training: Training) -> None:
        """Look before the first epoch, or after one, if that is due and was not done before a resumption. RunError
        for a method that does not bear it."""
        step, epoch = self._step, training.iteration // self._step.order.per_epoch
        if epoch not in self._due or epoch in (each["epoch"] for each in self.found):
            return
        seed_generators(derive_seed(step.seed, "diagnosis", step.index, epoch), self._loader.device)
        try:
            with _evaluating(training.student):
                self.found.append(self._diagnosis(training, epoch))
        except Exception as error:
            raise RunError(
                f"step {step.index} of {step.method} cannot be diagnosed ({reason_of(error)}); the same command "
                "without --diagnose goes on with the training"
            ) from error

    def _diagnosis(self, training: Training, epoch: int) -> Diagnosis:
        method = copy.deepcopy(training.method).eval()
        images, labels, truth = self._images
        normalise, sums = Normalise(self._loader.device), Sums()
        # Each process looks at all images: so what a method exchanges with the others stays the same.
        for rows in torch.arange(len(images)).split(max(1, self._step.recipe.batch // distributed.world_size())):
            seen = normalise(images[rows])
            given, true = (maps[rows].to(normalise.device).long() for maps in (labels, truth))
            with autocast(normalise.device, self._step.recipe):
                with torch.no_grad():
                    new = training.student(seen, stages=True)
                    old = None if training.teacher is None else training.teacher(seen, stages=True)
                new = replace(new, low_logits=new.low_logits.requires_grad_())
                part = examine(method, Batch(given, new, old, images=seen), true, len(rows) / len(images))
            sums = {name: sums.get(name, 0) + value for name, value in part.items()}
        return summary(epoch, sums)

    @cached_property
    def _images(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images, evenly spread over those of the step, uint8 [N, 3, S, S]; their labels at this step, and those of
        all classes so far, uint8 [N, S, S]."""
        plan, step, ids = self._plan, self._step, self._step.train_ids
        count = min(_IMAGES, len(ids))
        start = random.Random(derive_seed(step.seed, "diagnosis", step.index)).randrange(len(ids))
        chosen = tuple(ids[(place * len(ids) + start) // count] for place in range(count))
        every = plan.data.view(plan.scenario, plan.experiment.protocol, step.index, cumulative=True)
        tables = step.view.data.train.table, every.data.train.table
        given, true = (Samples(plan.data.pairs, View(chosen, table), step.recipe) for table in tables)
        images, labels = zip(*(given[row] for row in range(count)), strict=True)
        return torch.stack(images), torch.stack(labels), torch.stack([true[row][1] for row in range(count)])


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, after which each part is in the mode in which it was. (In a copy of the network, norms of
    several processes would refer to others than the copy's.)"""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def examine(method: Method, batch: Batch, truth: Tensor, share: float = 1.0) -> Sums:
    """Sums over the images of a batch, which are a `share` of all. `truth` (int64 [B, H, W]) are the labels of all
    classes so far; the student's low logits must be a leaf. What is said of classes is left out for a method with a
    head of its own, whose channels may be others."""
    logits, sums = batch.student.low_logits, Sums()
    for name, term in method.loss(batch).items():
        gradient = None
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(term, logits, retain_graph=True, allow_unused=True)
        gradient = torch.zeros_like(logits) if gradient is None else share * gradient
        sums[f"loss {name}"], sums[f"square {name}"] = share * term.detach(), gradient.float().square().sum()
    if method.Head is Classifier:
        with torch.no_grad():
            targets = method.targets(batch)
            sums |= _gradients(batch.student.logits, targets, method.step)
            sums |= _certainty(batch.student.log_probabilities)
            if method.step.num_hidden > 1:
                sums |= _pseudo_labels(batch.labels, targets, truth, method.step.num_old)
    return sums


def _gradients(logits: Tensor, targets: Tensor, step: Step) -> Sums:
    """Sums of |G| = 1 − sigmoid(logit of the target), and of pixels, for the background and the classes of each
    step (as `step_aware_weights` groups them); where classes do not come in steps, for all."""
    gradient = gradient_size(logits, targets)
    sizes = {"background": 1} | {f"step {t}": size for t, size in enumerate(step.classes_per_step)}
    if step.domain:
        sizes = {"all classes": step.num_classes}
    groups = zip(sizes, class_groups(targets, sizes.values()), strict=True)
    return {f"group {name}": torch.stack([(gradient * group).sum(), group.sum()]) for name, group in groups}


def _certainty(log_p: Tensor) -> Sums:
    """Sums of the largest probability and of the entropy, as a share of that of C equal ones; and pixels."""
    entropies = entropy(log_p, normalised=True) / math.log(log_p.shape[1])
    return {
        "certainty": torch.stack([log_p.amax(1).exp().sum(), entropies.sum(), torch.ones_like(entropies).sum()])
    }


def _pseudo_labels(labels: Tensor, targets: Tensor, truth: Tensor, num_old: int) -> Sums:
    """Of the pixels that are labelled background: how many get each old class, rightly do, and truly are of it."""
    background = (labels == 0) & (truth != IGNORE)
    given, true = targets[background], truth[background]
    classes = given, given[given == true], true
    counts = [torch.bincount(each[each < num_old], minlength=num_old)[1:] for each in classes]
    return {"pseudo": torch.stack(counts)}


def summary(epoch: int, sums: Sums) -> Diagnosis:
    """What the sums over all images say."""
    mean_gradients = {name: _number(total / count) for name, (total, count) in _named("group", sums).items()}
    confidence = mean_entropy = pseudo = None
    if "certainty" in sums:
        *totals, pixels = sums["certainty"]
        confidence, mean_entropy = (_number(total / pixels) for total in totals)
    if "pseudo" in sums:
        given, right, hidden = sums["pseudo"].tolist()
        pseudo = PseudoLabels(given=given, right=right, hidden=hidden)
    return {
        "epoch": epoch,
        "pseudo_labels": pseudo,
        "gradients": mean_gradients,
        "confidence": confidence,
        "entropy": mean_entropy,
        "losses": {name: _number(value) for name, value in _named("loss", sums).items()},
        "logit_gradients": {name: _number(value.sqrt()) for name, value in _named("square", sums).items()},
    }


def _named(kind: str, sums: Sums) -> Sums:
    """The sums of one kind, by what follows in their names."""
    return {name.removeprefix(f"{kind} "): value for name, value in sums.items() if name.startswith(f"{kind} ")}


def _number(value: Tensor) -> float | None:
    """A number as records have it: None where it is not finite, as a mean over nothing is."""
    return float(value) if value.isfinite() else None
