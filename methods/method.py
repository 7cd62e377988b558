"""The interface of a method: the hooks in which it may differ from fine-tuning, in the engine's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.methods.functional import IGNORE_INDEX
from issbench.methods.interface.batch import Batch as Batch
from issbench.methods.interface.batch import Batches as Batches
from issbench.methods.interface.batch import Output as Output
from issbench.methods.interface.batch import upsample as upsample
from issbench.methods.interface.head import Classifier as Classifier
from issbench.methods.interface.head import Head as Head

IGNORE = IGNORE_INDEX


@dataclass(frozen=True)
class Step:
    """Where in its scenario a method is.

    `classes_per_step` counts the new foreground classes of each step up to the current one (background is
    extra, channel 0). In a domain-incremental scenario (`domain`) all classes are labelled at every step and
    count as old from step 1 on: `classes_per_step` then has one entry.
    """

    index: int
    classes_per_step: tuple[int, ...]
    domain: bool = False
    feature_channels: int = 256
    """Channels of the ASPP output, which the classifier sees (D)."""
    encoder_channels: int = 2048
    """Channels of the backbone's last feature map."""
    old_labelled: bool = False
    """Whether the labels hold the old classes, too (setting `sequential`)."""

    @property
    def all_labelled(self) -> bool:
        """Whether all classes so far are labelled, so that no old one hides in the background."""
        return self.domain or self.old_labelled

    @property
    def num_classes(self) -> int:
        """Channels of the student, background included (C)."""
        return 1 + sum(self.classes_per_step)

    @property
    def num_old(self) -> int:
        """Channels of the teacher (C_old); 0 at the first step, C in a domain-incremental scenario."""
        if self.index == 0:
            return 0
        return self.num_classes if self.domain else 1 + sum(self.classes_per_step[:-1])

    @property
    def num_new(self) -> int:
        """Channels that the step adds."""
        return self.num_classes - self.num_old

    @property
    def num_hidden(self) -> int:
        """Number of classes that a pixel labelled 0 may belong to: all old classes, which are hidden in the
        background, or 1 where every class is labelled (first step, domain-incremental, sequential)."""
        return 1 if self.all_labelled or self.index == 0 else self.num_old


NewClassifier = Literal["default", "background"]


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """A method without options."""


@dataclass(frozen=True, kw_only=True)
class Exemplars:
    """The images of earlier steps that a method keeps: at most `images`, as many of each class. `labels`: those of
    the classes of the step in which an image was drawn (`own`), or of all classes up to now (`all`, which no step
    had). `share`: how much of each batch they replace."""

    images: int
    labels: Literal["own", "all"]
    share: float


class Method(nn.Module):
    """Fine-tuning with hooks. A method is made anew for each step; the buffers and parameters that it
    registers are its state: saved with the step, in checkpoints, and handed to the next step's `begin`.

    Class attributes state what the engine must know; the hooks follow in the order of their calls. `name`, `title`,
    `table_order`, `colour`, `marker`, `dashes` and `cite` are about this class alone: one that derives from it
    states its own.
    """

    name: ClassVar[str]
    """The name on the command line."""
    title: ClassVar[str]
    """The name in tables."""
    table_order: ClassVar[int | None] = None
    """The place in tables: that in the paper's Table I, in tens. None: after those that have one."""
    colour: ClassVar[str] = ""
    """`#RRGGBB` in figures; empty, like `marker` and `dashes` (matplotlib's): chosen freely."""
    marker: ClassVar[str] = ""
    dashes: ClassVar[str] = ""
    cite: ClassVar[str] = ""
    """Key in `results/references.bib`."""
    upper_bound: ClassVar[bool] = False
    """Whether the method trains on all data, so that it does not compete for the best result."""
    Options: ClassVar[type] = NoOptions
    """A frozen dataclass; its defaults are the published settings."""
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings that differ from the defaults, by the name of a dataset or of a scenario (`voc_15-1`), whose
    settings come last: published ones, and ours for `shapes`."""
    Head: ClassVar[type[Head]] = Classifier
    """What makes logits of the features, and predictions of the logits. A method with a head of its own trains the
    first step with it, so it has `own_first_step`."""
    own_first_step: ClassVar[bool] = False
    """Whether the hooks are called at the first step, too (without a teacher, and without the parts on top), which
    is then not shared with other methods."""
    first_step_options: ClassVar[tuple[str, ...]] = ()
    """The options that decide the result of an own first step; the others have their defaults there."""
    first_step_of: ClassVar[str] = ""
    """The method whose own first step is this one's, too, so that it is trained once for both; empty: its own."""
    uses_teacher: ClassVar[bool] = True
    uses_stages: ClassVar[bool] = False
    """Whether `loss` reads `Output.stages`."""
    new_classifier: ClassVar[NewClassifier] = "default"
    """How the classifier of new classes starts: at random, or from the background's (MiB)."""
    cumulative: ClassVar[bool] = False
    """Train on all data seen so far from the pretrained backbone (joint training), not on the step's data."""
    not_composable_because: ClassVar[str] = ""
    """Why no part can be put on top of the method; empty if it can."""

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if cls.Head is not Classifier and not cls.own_first_step:
            raise TypeError(f"{cls.__name__} has a head of its own, so it must say `own_first_step = True`")

    def __init__(self, options: Any, step: Step):
        super().__init__()
        self.options = options
        self.step = step

    @property
    def num_hidden(self) -> int:
        """Number of classes that a pixel with the target 0 may belong to: `Step.num_hidden`, unless `targets`
        reveals them."""
        return self.step.num_hidden

    @classmethod
    def trains(cls, options: Any, step: int, last: int) -> bool:
        """Whether the method trains at this step; a step that it skips has no result."""
        return True

    @classmethod
    def exemplars(cls, options: Any) -> Exemplars | None:
        """The memory that the engine keeps for the method; None: none."""
        return None

    def after_first_step(self, network: nn.Module, batches: Batches) -> None:
        """Once, after the first step, which all methods share: leave state for step 1. The batches are as in `end`;
        the network is thrown away."""

    def prepare(self, network: nn.Module) -> None:
        """Change the student's architecture before the optimiser is made."""

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """What the optimiser trains, in groups as torch has them: `params`, and where it differs from the recipe
        `weight_decay` and `scale`, a factor on the learning rate. By default all that has `requires_grad`."""
        return [{"params": [p for p in (*network.parameters(), *self.parameters()) if p.requires_grad]}]

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        """Before training: look at the step's data with the teacher's eyes (the batches have no student
        output), take over the state that the method left after the previous step ({} if it left none). What needs
        gradients computes them under `torch.enable_grad()`."""

    def set_training_mode(self, network: nn.Module) -> None:
        """At the beginning of training; parts that are frozen may be left in evaluation mode."""
        network.train()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the loss, weighted, by name; their sum is minimised."""
        targets = self.targets(batch)
        pixels = self.pixel_loss(batch, targets)
        weights = self.pixel_weights(batch, targets)
        classification = (pixels if weights is None else weights * pixels).mean()
        return {"classification": classification, **self.terms(batch, targets)}

    def targets(self, batch: Batch) -> Tensor:
        """The labels to learn, int64 [B, H, W]."""
        return batch.labels

    def pixel_loss(self, batch: Batch, targets: Tensor) -> Tensor:
        """The classification loss of each pixel [B, H, W]; 0 where ignored."""
        return nnf.nll_loss(batch.student.log_probabilities, targets, ignore_index=IGNORE, reduction="none")

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """Weights of the pixels, broadcastable to [B, H, W], or None for 1. The loss is the mean over all
        B·H·W pixels, ignored ones included."""
        return None

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """The other terms, weighted scalars: distillation, regularisation."""
        return {}

    def after_backward(self, network: nn.Module) -> None:
        """The gradients are there, the update is not yet made."""

    def after_update(self, network: nn.Module) -> None:
        """The optimiser has changed the parameters."""

    def end(self, network: nn.Module, batches: Batches) -> None:
        """After a step that the method trained: undo a change of architecture, leave state for the next step. The
        batches have the student's output, with gradient, in evaluation mode, and no teacher."""

    def fuse(self, network: nn.Module, before: Mapping[str, Tensor]) -> None:
        """After `end`, from the second step on: change the weights in the light of those `before` the step, which
        lack the new classes."""


class Part(Method):
    """A part to put on top of any method: `METHOD+part`. It overrides hooks and calls `super()` for what the
    method below does (`methods/interface/composition.py`)."""

    needs_teacher: ClassVar[bool] = False
    """Whether the combination has a teacher even if the method below has none."""
