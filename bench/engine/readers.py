"""The processes that read images. One that fails, dies or hangs ends the work within a minute, and the image is
named."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from multiprocessing import Array, active_children
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from issbench.bench.engine.interruption import SIGNALS
from issbench.bench.engine.samples import Samples
from issbench.errors import RunError
from issbench.scenarios.errors import DataError
from issbench.scenarios.reading import LOOK, PATIENCE, failed, hangs

_GRACE = 10.0
"""Seconds that a reading process goes on after SIGTERM. The system and Slurm signal all processes at once: the main
one may need another batch before it saves a checkpoint."""


def batches_of(samples: Samples, rows: Iterable[list[Any]], workers: int, pin_memory: bool) -> Iterator[Any]:
    """The batches of some indices of `samples`, in order, read by `workers` processes, or by this one for 0.

    DataError where a sample cannot be read, whatever the error, or where none is read for 45 s; RunError where a
    process ends. Both name the image, and leave no process behind.
    """
    noted = _Noted(samples, workers)
    loader = DataLoader(
        noted,
        batch_sampler=rows,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
        timeout=LOOK if workers else 0,
        worker_init_fn=_start,
    )
    before = active_children()
    with _no_handler_of_torch():
        batches = iter(loader)
    readers = _Readers(noted, [child for child in active_children() if child not in before])
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            if not str(error).startswith("DataLoader "):  # that it waited for LOOK, or that a process died
                raise
            readers.check()
            continue
        if isinstance(batch, _Unreadable):
            readers.end()
            raise DataError(batch.reason)
        readers.looks = 0
        yield batch


@dataclass(frozen=True)
class _Unreadable:
    """Why a sample could not be read: a value, because an exception of another process comes as its traceback."""

    reason: str


def _collate(batch: list[Any]) -> Any:
    for each in batch:
        if isinstance(each, _Unreadable):
            return each
    try:
        images, labels = default_collate([(image.permute(1, 2, 0), label) for image, label in batch])
        return images.permute(0, 3, 1, 2), labels  # channels-last, as they were read and as networks want them
    except Exception as error:
        return _Unreadable(str(failed("a batch", error)))


class _Noted(TorchDataset[Any]):
    """Samples whose errors are values. In memory that the processes share stands which image each of them reads."""

    def __init__(self, samples: Samples, workers: int):
        self.samples = samples
        self.pids, self.rows, self.begun, self.done = (Array("q", max(1, workers), lock=False) for _ in range(4))

    def __getitem__(self, index: Any) -> Any:
        info = get_worker_info()
        place, row = info.id if info else 0, self.samples.row(index)
        self.pids[place], self.rows[place] = os.getpid(), row
        self.begun[place] += 1
        # Ctrl-C must end this process, but those that only read ignore it.
        caught = BaseException if info else (Exception, SystemExit)
        try:
            with time_limit(f"image {self.name(row)}"):
                return self.samples[index]
        except caught as error:
            return _Unreadable(str(failed(f"image {self.name(row)}", error)))
        finally:
            self.done[place] += 1

    def name(self, row: int) -> str:
        """The id of the image in a row."""
        return self.samples.sample(row)


class _Readers:
    """The processes of one pass, and how often they were looked at while one of their batches is waited for."""

    def __init__(self, noted: _Noted, processes: list[BaseProcess]):
        self.noted, self.processes = noted, processes
        self.looks = self.seen = 0

    def check(self) -> None:
        """Raise where a process is dead, or where none has read an image for too long."""
        noted = self.noted
        dead = next((process for process in self.processes if not process.is_alive()), None)
        if dead is not None:
            self.end()
            known = list(noted.pids)
            row = noted.rows[known.index(dead.pid)] if dead.pid in known else 0
            raise RunError(
                f"the process that read image {noted.name(row)} {_how(dead.exitcode)}; if memory ran out, read "
                "with fewer processes (--workers)"
            )
        done = sum(noted.done)
        if done != self.seen:
            self.seen, self.looks = done, 0
        self.looks += 1
        if self.looks > PATIENCE / LOOK:
            self.end()
            reading = [
                r for r, begun, ended in zip(noted.rows, noted.begun, noted.done, strict=True) if begun > ended
            ]
            raise hangs(f"image {', '.join(map(noted.name, reading))}", PATIENCE)

    def end(self) -> None:
        """End the processes at once, also those that hang."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join(1)


def _how(code: int | None) -> str:
    """In words, how a process with an exit code ended."""
    if code is None or code >= 0:
        return f"ended by itself (exit code {code})"
    return f"was killed by {signal.Signals(-code).name}"


@contextmanager
def time_limit(what: str) -> Iterator[None]:
    """End the reading of something by this very process after PATIENCE, where the system has a clock for that.
    Other processes are watched by the main one."""
    here = threading.current_thread() is threading.main_thread() and get_worker_info() is None
    if not here or not hasattr(signal, "setitimer"):
        yield
        return

    looks = iter(range(ceil(PATIENCE / LOOK) - 1))

    def look(*_: Any) -> None:
        if next(looks, None) is None:
            raise hangs(what, PATIENCE)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK, LOOK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _no_handler_of_torch() -> Iterator[None]:
    """Undo that torch raises an error wherever the main process is when a reading process dies: `check` sees it
    where it knows the image."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def _start(_: int) -> None:
    """In a new reading process: leave signals to the main process, which saves a checkpoint and then ends this one;
    but end some time after SIGTERM, and when the main process is gone."""
    terminated: list[float] = []
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: terminated.append(time.monotonic()))
    torch.set_num_threads(1)
    threading.Thread(target=_follow, args=(os.getppid(), terminated), daemon=True).start()


def _follow(parent: int, terminated: list[float]) -> None:
    while os.getppid() == parent and not (terminated and time.monotonic() - terminated[0] > _GRACE):
        time.sleep(LOOK)
    os._exit(128 + signal.SIGTERM)
