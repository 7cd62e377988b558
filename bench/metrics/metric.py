"""What a metric is: something that is counted for each test image, merged over them, and turned into values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Groups = Mapping[str, tuple[int, int]]
"""First and last channel of groups of classes, by name."""


@dataclass(frozen=True)
class Context:
    """What metrics know of a run."""

    groups: Mapping[str, Groups]
    """`named`: base, new and all, as far as the scenario has them; `printed`: those of published tables."""
    absent_is_zero: bool
    """Whether a class that the test images do not hold counts 0 in means; else it is left out."""
    num_steps: int
    """Steps of the scenario, whether the method trains all of them or not."""


class Metric:
    """A metric: what it counts, what follows after a step, and what follows from all steps.

    Metrics with the same `counts` share what is counted: derive from the class that counts it (`Confusion`), or
    count something else under a new name. Everything that a metric gives goes into the record of the run.
    """

    name: ClassVar[str]
    """As in `--metrics` and in the entry point."""
    counts: ClassVar[str] = ""
    """The name of the counts that it is made of; empty for one that is made of the values of others."""
    opt_in: ClassVar[bool] = False
    """Whether it is computed only when asked for."""

    def count(self, prediction: Tensor, target: Tensor, num_classes: int) -> Tensor:
        """Numbers of true positives, false positives and false negatives for each class in each image of a batch:
        int32 `[B, 3, num_classes]`, on the device, without waiting for it.

        `prediction` `[B, H, W]` lies in `0 … num_classes-1`; a pixel whose `target` does not is ignored.
        """
        raise NotImplementedError

    def merge(self, images: np.ndarray) -> dict[str, list[int]]:
        """What `count` found in all images, `[images, 3, num_classes]`, as the sums `tp`, `fp` and `fn`."""
        return dict(zip(("tp", "fp", "fn"), images.sum(axis=0, dtype=np.int64).tolist(), strict=True))

    def values(self, counts: Mapping[str, Sequence[int]], context: Context) -> dict[str, Any]:
        """After a step: what goes into its record, by name, from merged counts. Plain values."""
        return {}

    def summary(self, steps: Sequence[Mapping[str, Any]], context: Context) -> dict[str, Any]:
        """After the last step: what goes into the record of the run, by name, from the values of each step that was
        trained. Plain values."""
        return {}
