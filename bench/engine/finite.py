"""Which tensors have NaN or infinity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that has NaN or infinity; None where there is none."""
    found = {name: value for name, value in tensors.items() if value.is_floating_point()}
    device = next((value.device for value in found.values() if value.is_cuda), torch.device("cpu"))
    sound = [value.isfinite().all().to(device) for value in found.values()]
    flags = torch.stack(sound).tolist() if sound else []
    return next((name for name, is_sound in zip(found, flags, strict=True) if not is_sound), None)


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors and fractions in nested mappings and lists, with names such as `student.aspp.weight`."""
    if isinstance(value, Tensor | float):
        yield name, torch.as_tensor(value)
    elif isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, each in pairs:
            yield from flat(each, f"{name}.{key}" if name else str(key))
