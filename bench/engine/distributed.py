"""Several processes that train one network: which one is this, and what they tell each other.

`torchrun` and Slurm's tasks say in the environment how many there are (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
MASTER_PORT). Where nothing is said, or one, every function here does the obvious without any communication.

The main process (rank 0) alone reads and writes the run store; the others get what it read. If one process ends,
the others end as soon as they exchange something with it.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist

from issbench.bench.engine.environment import choose_device
from issbench.errors import RunError, UserError

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""How long the others wait for the main process, which may wait for another run's step."""

_BROKEN = ("gloo", "NCCL", "ncclRemoteError", "Connection reset", "Connection closed", "Broken pipe")
"""What errors of an exchange say when a partner is gone."""

_control: Any = None
"""The group in which processes talk on the CPU, beside the one that reduces gradients."""


def join(device: str = "auto") -> torch.device:
    """Meet the other processes, if any, and choose this one's device: with several GPUs the one of its number.

    Raises UsageError for a device that cannot be used.
    """
    global _control
    number = int(os.environ.get("WORLD_SIZE", "1"))
    if number > 1 and device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    chosen = choose_device(device)
    if number > 1 and not dist.is_initialized():
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        _control = dist.new_group(backend="gloo", timeout=_PATIENCE)
        atexit.register(_leave)
    return chosen


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _control else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _control else 0


def is_main() -> bool:
    """Whether this is the process that reads and writes files."""
    return rank() == 0


def any_of(*flags: bool) -> tuple[bool, ...]:
    """For each flag whether any process has set it; every process must ask."""
    if not _control:
        return flags
    values = torch.tensor(flags, dtype=torch.int32)
    with _exchange():
        dist.all_reduce(values, dist.ReduceOp.MAX, group=_control)
    return tuple(bool(value) for value in values.tolist())


def from_main(make: Callable[[], T]) -> T:
    """What `make` returns, or raises, in the main process, for all of them; the others do not call it."""
    if not _control:
        return make()
    told: list[Any] = [None, None]
    if is_main():
        try:
            told[0] = make()
        except Exception as error:
            told[1] = error
    with _exchange():
        dist.broadcast_object_list(told, src=0, group=_control)
    if told[1] is not None:
        raise told[1]
    return told[0]


def in_main(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, called in the main process alone: the others get what it returns or raises."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return from_main(lambda: function(*args, **kwargs))

    return call


def all_gather(value: T) -> list[T]:
    """The values of all processes, by rank."""
    if not _control:
        return [value]
    values: list[Any] = [None] * world_size()
    with _exchange():
        dist.all_gather_object(values, value, group=_control)
    return values


@contextmanager
def main_first() -> Iterator[None]:
    """The main process goes through the block before the others, which then find what it left in caches."""
    if _control and not is_main():
        _wait()
    yield
    if _control and is_main():
        _wait()


def _wait() -> None:
    with _exchange():
        dist.barrier(group=_control)


@contextmanager
def _exchange() -> Iterator[None]:
    """Around an exchange: RunError where another process has ended."""
    try:
        yield
    except RuntimeError as error:
        raise explained(error) from None


def explained(error: Exception) -> Exception:
    """The error to tell: where an exchange with another process broke off, a RunError that says so."""
    broken = isinstance(error, RuntimeError) and not isinstance(error, UserError)
    if not broken or world_size() == 1 or not any(word in str(error) for word in _BROKEN):
        return error
    return RunError(
        f"another of the {world_size()} processes that train together has ended (this is process {rank()}): it was "
        "killed, as by a lack of memory, or says itself why; the same command resumes"
    )
