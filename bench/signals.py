"""Signals that ask a command to end: Ctrl-C, SIGTERM, and SIGHUP, which comes when a terminal closes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stopped(KeyboardInterrupt):
    """A signal asked to end; `number` says which."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def number_of(stop: KeyboardInterrupt) -> int:
    """The number of the signal that asked to end."""
    return stop.number if isinstance(stop, Stopped) else signal.SIGINT


def ending_signals(*more: str) -> list[signal.Signals]:
    """Those that this system has, and `more` by name. A SIGHUP that is ignored, as under nohup, stays so."""
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", *more) if hasattr(signal, name)]
    return [n for n in known if n.name != "SIGHUP" or signal.getsignal(n) is not signal.SIG_IGN]


@contextmanager
def raising() -> Iterator[list[int]]:
    """In this block a signal raises Stopped, and its number is in what the block is given. While the command ends,
    only another Ctrl-C raises once more: launchers and systems repeat the others."""
    received: list[int] = []

    def stop(number: int, frame: Any) -> None:
        received.append(number)
        if number == signal.SIGINT or len(received) == 1:
            raise Stopped(number)

    with handling(stop, ending_signals()):
        yield received


@contextmanager
def handling(handler: Any, signals: list[signal.Signals]) -> Iterator[None]:
    """Let `handler` have signals in this block; in a thread, which gets none, this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)
