"""How work is requested to stop: Ctrl-C, a signal of the system or of Slurm, the loss of a lock."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from issbench.bench.engine import distributed
from issbench.bench.signals import Stopped, ending_signals, handling

_SLURM = "SIGUSR2"
"""Sent before a time limit, as submitit asks; at a preemption Slurm sends SIGTERM."""
SIGNALS = ending_signals(_SLURM)

_SHOW_CURSOR = "\x1b[?25h"


class Interruption:
    """Whether the work is to stop. Between two batches all processes agree on it."""

    def __init__(self) -> None:
        self._number = 0

    def request(self, number: int = signal.SIGINT) -> None:
        """Stop at the next opportunity, because of a signal; safe in signal handlers and other threads."""
        self._number = self._number or number

    @property
    def requested(self) -> bool:
        """Whether a stop was requested of this process."""
        return self._number != 0

    def check(self) -> None:
        """Raise Stopped in all processes if a stop was requested of any; every process must call this."""
        if distributed.any_of(self.requested)[0]:
            self.stop()

    def stop(self) -> NoReturn:
        """Raise Stopped, in all processes with the same number."""
        raise Stopped(max(distributed.all_gather(self._number)) or signal.SIGINT)


@contextmanager
def interruption() -> Iterator[Interruption]:
    """On a signal, request a stop after the next checkpoint. A second Ctrl-C stops at once, unless several
    processes train: their launcher repeats the signal."""
    interruption = Interruption()

    def remember(number: int, frame: Any) -> None:
        interruption.request(number)
        if number == signal.SIGINT and distributed.world_size() == 1:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            _tell("stopping after a checkpoint; Ctrl-C again stops at once")

    with handling(remember, ending_signals(_SLURM)):
        yield interruption


def _tell(text: str) -> None:
    """Write a line to standard error from a signal handler, where print may be at work already. The second Ctrl-C
    leaves nobody to give a terminal its cursor back."""
    with suppress(OSError):
        os.write(2, f"{_SHOW_CURSOR if os.isatty(2) else ''}\n{text}\n".encode())
