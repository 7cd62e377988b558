"""Memory: what a training needs at least, and what to tell where it runs out."""

from __future__ import annotations

import gc
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from issbench.bench.engine.trial import Need
from issbench.bench.free_memory import available
from issbench.bench.recipe import Recipe
from issbench.errors import RunError

_PREFETCHED = 2  # batches that each process that reads images holds ready, as torch's loader has it
_PIXEL = 4  # bytes: three colours and the label
LOWER = "lower the batch (--set batch=…), the crop (--set crop=…) or --workers, or take a smaller backbone"
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "bad_alloc")
"""In the errors of torch, cuDNN, cuBLAS and the C++ library that say so without a type of their own."""


def check_memory(
    need: Need, recipe: Recipe, workers: int, iterations: int, free: int, label: str, remedy: str = LOWER
) -> None:
    """RunError where the training of a step on the CPU, `label`, needs more than the `free` bytes. The need is a
    lower bound, so nothing that fits is refused."""
    ready = min(workers * _PREFETCHED, iterations) * recipe.batch * recipe.crop**2 * _PIXEL
    # Processes on this machine, each with its weights and its share of a batch.
    fixed = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * need.fixed
    total = fixed + recipe.batch * need.image + ready
    if total > free:
        raise RunError(
            f"{label}: training needs at least {_gb(total)} of memory, where {_gb(free)} are available: "
            f"{_gb(need.image)} for each of the {recipe.batch} images of a batch, of {recipe.crop} × {recipe.crop} "
            f"pixels, {_gb(fixed)} for weights and their gradients, {_gb(ready)} for images read ahead; {remedy}"
        )


@contextmanager
def memory_told(doing: str, device: torch.device, remedy: str = LOWER) -> Iterator[None]:
    """Where memory runs out, release what the failed work held, and raise a RunError that says what was asked for,
    what is there, and what to lower."""
    try:
        yield
        return
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        told = RunError(f"{doing} needs more memory than there is: {_state(device, str(error))}; {remedy}")
        traceback.clear_frames(error.__traceback__)  # they hold the tensors, which the next run has no room beside
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise told


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, also one of a process that reads images, says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


def _state(device: torch.device, message: str) -> str:
    found = re.search(r"allocate ([\d.]+) ?(\w+)", message)
    asked = f"it asked for {_amount(*found.groups())} more" if found else "it asked for more"
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        held, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
        return (
            f"it holds {_gb(held)} in tensors ({_gb(reserved)} reserved) and {asked}, where {_gb(free)} of the "
            f"{_gb(total)} of {torch.cuda.get_device_name(device)} are free"
        )
    left = available()
    return asked if left is None else f"{asked}, where {_gb(left)} are available"


def _amount(number: str, unit: str) -> str:
    return _gb(int(number)) if unit == "bytes" else f"{number} {unit}"


def _gb(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
