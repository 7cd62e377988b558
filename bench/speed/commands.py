"""Whole commands, each in a process of its own: how long they take to start, and how many runs an hour they do."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from issbench.bench.position import FILE
from issbench.bench.speed.measured import Row, row_of, timed
from issbench.errors import RunError

_IMPORT = (sys.executable, "-c", "import torch, timm")
_BENCH = (sys.executable, "-m", "issbench")
_TASK = ("--scenario", "shapes_4-4", "--device", "cpu", "--threads", "1", "--workers", "0")
_SHORT = ("--set", "first_epochs=1", "--set", "epochs=1")
_METHODS = "ft,lwf,mib,plop"
_FINISHED = "ft,lwf,ilt,mib,ewc,pi"
_PATIENCE = 600.0


def measure_suite(jobs: int, rounds: int | None, seconds: float) -> Iterator[Row]:
    """A row for each number of jobs at once from 2 on: seconds of a small sweep, against one run after another."""
    numbers = range(2, jobs + 1)
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        stores = (Path(folder) / f"store {number}" for number in range(10**9))

        def sweep(number: int) -> Callable[[], None]:
            words = ("run", "--methods", _METHODS, *_TASK, *_SHORT, "--jobs", str(number))
            return lambda: _call(*_BENCH, *words, "--out", str(next(stores)))

        for number in numbers:
            share, runs = seconds / len(numbers), len(_METHODS.split(","))
            yield row_of(f"{number} jobs", timed(sweep(1)), timed(sweep(number)), rounds, share, runs=runs)


def measure_start(rounds: int | None, seconds: float) -> Iterator[Row]:
    """Until training begins, and of a command whose runs are all done, against the import of torch and timm."""
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        stores = (Path(folder) / f"store {number}" for number in range(10**9))
        base = timed(lambda: _call(*_IMPORT))
        yield row_of("first iteration", base, lambda: _until_it_trains(next(stores)), rounds, seconds / 2)
        words = ("run", "--methods", _FINISHED, "--seeds", "0,1", *_TASK, *_SHORT, "--set", "crop=32", "--out")
        done = (*_BENCH, *words, f"{folder}/done")
        runs = 2 * len(_FINISHED.split(","))
        yield row_of("finished command", base, timed(lambda: _call(*done)), rounds, seconds / 2, runs=runs)


def _until_it_trains(store: Path) -> float:
    """Seconds from the start of a command to its first iteration, when it is ended."""
    before = time.perf_counter()
    words = ("run", "--methods", "ft", *_TASK, "--jobs", "1", "--out", str(store))
    process = subprocess.Popen([*_BENCH, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not any(store.glob(f"runs/*/{FILE}")):
            if process.poll() is not None or time.perf_counter() - before > _PATIENCE:
                raise RunError(f"`bench {' '.join(words)}` did not begin to train; see what it says")
            time.sleep(0.005)
        return time.perf_counter() - before
    finally:
        process.kill()
        process.wait()


def _call(*words: str) -> None:
    """Run a command to its end. RunError, with what it says, where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"`{' '.join(words)}` failed: {done.stderr.strip()}")
