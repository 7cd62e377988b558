"""What a method sees of a batch: labels, images, and what the networks make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as nnf
from torch import Tensor

from issbench.methods.interface.head import Classifier


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
    scores_of: Callable[[Tensor], Tensor] = Classifier.scores
    """The prediction rule of the head (`Head.scores`)."""

    @cached_property
    def logits(self) -> Tensor:
        """Logits at the images' resolution [B, C, H, W], float32; computed at most once."""
        return upsample(self.low_logits.float(), self.size)

    @cached_property
    def log_probabilities(self) -> Tensor:
        """Log-softmax of `logits` over the channels [B, C, H, W]; computed at most once. Functions of `functional`
        take it in place of the logits with `normalised=True`."""
        return self.logits.log_softmax(dim=1)

    @property
    def scores(self) -> Tensor:
        """The score of each class at the images' resolution [B, C, H, W]; the highest is predicted."""
        return self.scores_of(self.logits)


class Batch:
    """A batch: `labels` int64 [B, H, W] (channels, 255 = ignore), and what the networks make of its `images`
    (normalised, [B, 3, H, W]). `replayed` (bool [B]) tells the exemplars from the step's own images.

    Where several processes train together this is one's part; `share` weights its mean
    (`methods/shared/collectives.py`).
    """

    def __init__(
        self,
        labels: Tensor,
        student: Output | None,
        teacher: Output | None,
        share: float = 1.0,
        images: Tensor | None = None,
        replayed: Tensor | None = None,
    ):
        self.labels, self.share = labels, share
        self._images, self._replayed = images, replayed
        self._student, self._teacher = student, teacher

    @property
    def images(self) -> Tensor:
        """What the networks saw, [B, 3, H, W]."""
        assert self._images is not None, "this batch was made without images"
        return self._images

    @property
    def replayed(self) -> Tensor:
        """Which images are exemplars of earlier steps, bool [B]."""
        if self._replayed is None:
            return torch.zeros(len(self.labels), dtype=torch.bool, device=self.labels.device)
        return self._replayed

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


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation [B, C, h, w] → [B, C, H, W] without aligned corners, as the published codes do."""
    return nnf.interpolate(maps, size=size, mode="bilinear", align_corners=False)
