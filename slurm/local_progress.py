"""What is shown while jobs run on this machine: a bar for all of them and one for each, or a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from issbench.bench.launching.launcher import Report
from issbench.bench.position import Position, read_position
from issbench.text import clock

if TYPE_CHECKING:
    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.store import Store

_EVERY, _LIVE = 30.0, 1.0
"""Seconds between two lines, and between two looks where there are bars."""


class LocalProgress:
    """How far the runs of a submission are, from what their processes write in the runs' folders."""

    def __init__(self, plans: Sequence[Plan], store: Store, say: Report, console: Console):
        self._store, self._say, self._console = store, say, console
        steps = [(step.key, plan.run_name, step.images_seen) for plan in plans for step in plan.steps]
        missing = store.missing_steps(key for key, _, _ in steps)
        self._images = {key: images for key, _, images in steps if key in missing}
        self._keys = {plan.run_name: {step.index: step.key for step in plan.steps} for plan in plans}
        self._all, self._open = sum(self._images.values()), {plan.run_name for plan in plans}
        self._runs = len(plans)
        self._begun = self._shown = time.monotonic()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Around all jobs: bars, where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[info]}")
        with Progress(*columns, console=self._console, transient=True) as self._bars:
            self._tasks[""] = self._bars.add_task("all runs", total=1, info="")
            yield
        self._bars = None

    def say(self, line: str) -> None:
        """A line, above the bars if there are any."""
        if self._bars:
            self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            self._say(line)

    def end(self, run: str) -> None:
        """A run is over, whether it is done or failed."""
        self._open.discard(run)

    def show(self, running: Mapping[str, str]) -> None:
        """Show how far the runs are, if it is time to. `running` has the labels of those that train now."""
        if time.monotonic() - self._shown < (_LIVE if self._bars else _EVERY):
            return
        self._shown = time.monotonic()
        found = {run: read_position(self._store.root / "runs" / run) for run in running}
        positions = {run: position for run, position in found.items() if position is not None}
        left = self._left(positions)
        whole = f"{self._runs - len(self._open)} of {self._runs} runs done" + self._time_left(left)
        if self._bars is None:
            self._say("; ".join([whole, *(f"{running[run]}: {_where(each)}" for run, each in positions.items())]))
            return
        self._draw(running, positions, whole, left)

    def _draw(self, running: Mapping[str, str], positions: Mapping[str, Position], whole: str, left: float) -> None:
        assert self._bars is not None
        for run in [run for run in self._tasks if run and run not in running]:
            self._bars.remove_task(self._tasks.pop(run))
        done = 1 - left / self._all if self._all else 1
        self._bars.update(self._tasks[""], completed=done, info=whole)
        for run, position in positions.items():
            if run not in self._tasks:
                self._tasks[run] = self._bars.add_task(running[run], info="")
            completed = position.iteration / position.iterations
            self._bars.update(self._tasks[run], total=1, completed=completed, info=_where(position))
        self._bars.refresh()

    def _left(self, positions: Mapping[str, Position]) -> float:
        """Images to train on until all runs that may still succeed are done."""
        needed = {key for run in self._open for key in self._keys[run].values() if key in self._images}
        missing = self._store.missing_steps(needed)
        left = float(sum(self._images[key] for key in missing))
        for run, position in positions.items():
            key = self._keys[run].get(position.step)
            if key in missing:
                left -= self._images[key] * position.iteration / position.iterations
        return left

    def _time_left(self, left: float) -> str:
        """For so many images, at the speed since the start; nothing where nothing is trained yet."""
        done = self._all - left
        return f", {clock((time.monotonic() - self._begun) * left / done)} left" if done > 0 else ""


def _where(position: Position) -> str:
    """Where a training is, in a few words."""
    loss = "" if position.loss is None else f", loss {position.loss:.3f}"
    rate = "" if position.rate is None else f", {position.rate:.1f} images/s"
    return f"step {position.step}/{position.last_step} epoch {position.epoch}/{position.epochs}{loss}{rate}"
