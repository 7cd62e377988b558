"""What a method carries from one step to the next."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from issbench.methods.method import Method


def take_over(method: Method, previous: Mapping[str, Tensor], *names: str) -> None:
    """Fill buffers that have a row for each class, as far as the step before left rows."""
    for name in names:
        if name in previous:
            own: Tensor = getattr(method, name)
            own[: len(previous[name])] = previous[name].to(own.device)
