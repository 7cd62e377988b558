"""The interface of a method: the hooks in which it may differ from fine-tuning, in the engine's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.methods.functional import IGNORE_INDEX

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


@dataclass
class Output:
    """What a network returns for a batch of images.

    `low_logits` [B, C, h, w]; `features` [B, D, h, w]: the ASPP output, which the classifier sees; `encoder`
    [B, D_4, h, w]: the backbone's last feature map after its activation, as the ASPP sees it; `stages`: the outputs
    [B, D_i, h_i, w_i] of the four residual stages (empty unless asked for); `size`: the images' (H, W). The stages
    are taken before their last activation, because PLOP and RCIL distil them there: so the last of them is not
    `encoder`, of which ILT and SDR speak.
    """

    low_logits: Tensor
    features: Tensor
    encoder: Tensor
    stages: tuple[Tensor, ...]
    size: tuple[int, int]

    @cached_property
    def logits(self) -> Tensor:
        """Logits at the images' resolution [B, C, H, W], float32; computed at most once."""
        return upsample(self.low_logits.float(), self.size)

    @cached_property
    def log_probabilities(self) -> Tensor:
        """Log-softmax of `logits` over the channels [B, C, H, W]; computed at most once. Functions of `functional`
        take it in place of the logits with `normalised=True`."""
        return self.logits.log_softmax(dim=1)


class Batch:
    """A batch: `labels` int64 [B, H, W] (channels, 255 = ignore), and what the networks make of its images.

    Where several processes train together this is one's part; `share` weights its mean
    (`methods/shared/collectives.py`).
    """

    def __init__(self, labels: Tensor, student: Output | None, teacher: Output | None, share: float = 1.0):
        self.labels, self.share = labels, share
        self._student, self._teacher = student, teacher

    @property
    def student(self) -> Output:
        """The student's output; RuntimeError in `begin`, where no batch has one."""
        if self._student is None:
            raise RuntimeError("this batch has no output of the student; in `begin` there is the teacher's alone")
        return self._student

    @property
    def teacher(self) -> Output:
        """The teacher's output, without gradient; RuntimeError at the first step, in `after_first_step` and `end`,
        and for methods with `uses_teacher = False`, where no batch has one."""
        if self._teacher is None:
            raise RuntimeError(
                "this batch has no output of the teacher; there is one in `begin` and in training, from the second "
                "step on, for methods with `uses_teacher = True`"
            )
        return self._teacher


Batches = Callable[[], Iterator[Batch]]
"""Each call is a pass over the step's training images, each once, without augmentation, in a fixed order."""


NewClassifier = Literal["default", "background"]


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation [B, C, h, w] → [B, C, H, W] without aligned corners, as the published codes do."""
    return nnf.interpolate(maps, size=size, mode="bilinear", align_corners=False)


@dataclass(frozen=True, kw_only=True)
class NoOptions:
    """A method without options."""


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
    """Settings that differ from the defaults, by dataset name: published ones, and ours for `shapes`."""
    uses_teacher: ClassVar[bool] = True
    uses_stages: ClassVar[bool] = False
    """Whether `loss` reads `Output.stages`."""
    new_classifier: ClassVar[NewClassifier] = "default"
    """How the classifier of new classes starts: at random, or from the background's (MiB)."""
    cumulative: ClassVar[bool] = False
    """Train on all data seen so far from the pretrained backbone (joint training), not on the step's data."""
    not_composable_because: ClassVar[str] = ""
    """Why no part can be put on top of the method; empty if it can."""

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

    def after_first_step(self, network: nn.Module, batches: Batches) -> None:
        """Once, after the first step, which all methods share: leave state for step 1. The batches are as in `end`;
        the network is thrown away."""

    def prepare(self, network: nn.Module) -> None:
        """Change the student's architecture before the optimiser is made."""

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        """Before training: look at the step's data with the teacher's eyes (the batches have no student
        output), take over the state that the method left after the previous step ({} if it left none)."""

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

    def end(self, network: nn.Module, batches: Batches) -> None:
        """After a step that the method trained: undo a change of architecture, leave state for the next step. The
        batches have the student's output, with gradient, in evaluation mode, and no teacher."""


class Part(Method):
    """A part to put on top of any method: `METHOD+part`. It overrides hooks and calls `super()` for what the
    method below does (`methods/interface/composition.py`)."""

    needs_teacher: ClassVar[bool] = False
    """Whether the combination has a teacher even if the method below has none."""
