"""How work is requested to stop: Ctrl-C, a signal of the system or of Slurm, the loss of a lock."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from issbench.bench.engine import distributed

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name)
]  # Slurm sends USR2 (as submitit asks) before a time limit and TERM at a preemption


class Interruption:
    """Whether the work is to stop. Between two batches all processes agree on it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        """Stop at the next opportunity; safe in signal handlers and other threads."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether a stop was requested of this process."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise KeyboardInterrupt in all processes if a stop was requested of any; every process must call this."""
        if distributed.any_of(self.requested)[0]:
            raise KeyboardInterrupt


@contextmanager
def interruption() -> Iterator[Interruption]:
    """On a signal, request a stop after the next checkpoint. A second Ctrl-C stops at once, unless several
    processes train: their launcher repeats the signal."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def remember(number: int, frame: Any) -> None:
        if interruption.requested and distributed.world_size() == 1 and number == signal.SIGINT:
            raise KeyboardInterrupt
        interruption.request()

    old = {number: signal.signal(number, remember) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
