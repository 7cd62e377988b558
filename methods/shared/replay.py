"""What methods share that see images of earlier steps again."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from issbench.methods.method import Batch, Exemplars, Method


class Replay(Method):
    """A memory with the options of `methods/parts/memory.py`, and where its labels are silent."""

    @classmethod
    def exemplars(cls, options: Any) -> Exemplars | None:
        return Exemplars(images=options.memory, labels=options.memory_labels, share=options.replay)

    def silent(self, batch: Batch, targets: Tensor) -> Tensor:
        """Where classes of the current step may hide, bool [B, H, W]: pixels of exemplars without a class, unless
        these have the labels of all classes."""
        own = self.options.memory_labels == "own"
        return (batch.replayed & own)[:, None, None] & (targets == 0)
