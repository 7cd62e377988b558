"""Joint training, the upper bound."""

from __future__ import annotations

from dataclasses import dataclass

from issbench.methods.method import Method


@dataclass(frozen=True, kw_only=True)
class JointOptions:
    """`every_step`: train a joint model at every step; off, only at the last one, which the tables print."""

    every_step: bool = False


class Joint(Method):
    """Joint training on all images and labels seen so far, from the pretrained backbone (upper bound)."""

    name = "joint"
    title = "Joint"
    table_order = 20
    colour, marker, dashes = "#000000", "8", "--"
    Options = JointOptions
    uses_teacher = False
    cumulative = True
    upper_bound = True
    not_composable_because = "it learns from all data at once, so there is no old model and nothing to compensate"

    @classmethod
    def trains(cls, options: JointOptions, step: int, last: int) -> bool:
        return options.every_step or step in (0, last)
