"""Reads many samples side by side, without waiting for ever for one."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from math import ceil
from queue import Empty, SimpleQueue
from typing import TypeVar

from issbench.errors import UserError
from issbench.scenarios.errors import DataError

PATIENCE = 45.0
"""Seconds in which no image at all is read, after which reading has failed: a slow network file system takes a
second for one, and whoever waits is to know within a minute. They are counted by looks, since a process that was
stopped meanwhile, as Slurm suspends jobs, has read nothing and yet does not hang."""
LOOK = 1.0
"""Seconds between two looks at whether something was read."""

T = TypeVar("T")


def read_all(
    read: Callable[[str], T], samples: Sequence[str], patience: float = PATIENCE
) -> Iterator[tuple[str, T]]:
    """(sample, `read(sample)`) of all samples, as they are done. Raises what `read` raises, and DataError, which
    names the samples that are being read, where none is done for `patience` seconds.

    In threads, which are as fast as processes here: reading, decoding and hashing release the interpreter's lock.
    They end with the process even where one of them hangs.
    """
    waiting, lock = iter(samples), threading.Lock()
    reading: dict[threading.Thread, tuple[float, str]] = {}
    done: SimpleQueue[tuple[str, T | None, BaseException | None]] = SimpleQueue()
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            with lock:
                sample = next(waiting, None)
            if sample is None:
                return
            reading[threading.current_thread()] = (time.monotonic(), sample)
            try:
                done.put((sample, read(sample), None))
            except BaseException as error:
                done.put((sample, None, error))
            reading.pop(threading.current_thread())

    for _ in range(min(32, (os.cpu_count() or 1) + 4, len(samples))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in samples:
            for _ in range(ceil(patience / LOOK)):
                with suppress(Empty):
                    sample, value, error = done.get(timeout=LOOK)
                    break
            else:
                stuck = ", ".join(sample for _, sample in sorted(reading.values())[:5])
                raise hangs(stuck, patience)
            if error is not None:
                raise error
            yield sample, value  # type: ignore[misc]  # there is a value where there is no error
    finally:
        ended.set()


def hangs(what: str, patience: float) -> DataError:
    """The error for samples whose reading does not end."""
    return DataError(
        f"reading {what} did not end within {patience:.0f} s; see to the disk or the network they lie on"
    )


def failed(what: str, error: BaseException) -> DataError:
    """The error for something that cannot be read, in one line: errors of users as they are, others with their
    type."""
    if isinstance(error, UserError):
        return DataError(str(error))
    words = " ".join(str(error).split())
    return DataError(f"reading {what} failed: {type(error).__name__}{': ' if words else ''}{words}")
