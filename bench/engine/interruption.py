"""How work is asked to stop: Ctrl-C, a signal of the system or of Slurm, the loss of a lock."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from issbench.bench.engine import distributed as processes

SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name)
]  # Slurm sends USR2 (as submitit asks) before a time limit and TERM at a preemption


class Interruption:
    """Whether the work is to stop. Between two batches all processes agree on it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ask(self) -> None:
        """Stop at the next opportunity; safe in signal handlers and other threads."""
        self._event.set()

    @property
    def asked(self) -> bool:
        """Whether this process was asked."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise KeyboardInterrupt in all processes if any of them was asked; every process must call this."""
        if processes.any_of(self.asked)[0]:
            raise KeyboardInterrupt


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Turn a signal into a question to stop, so that a checkpoint can be saved. A second Ctrl-C stops at once, but
    not among several processes: their launcher passes it on, so that each of them gets it twice."""
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def remember(number: int, frame: Any) -> None:
        if asked.asked and processes.count() == 1 and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.ask()

    old = {number: signal.signal(number, remember) for number in SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
