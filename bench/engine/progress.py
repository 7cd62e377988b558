"""What a user sees while experiments run: live bars on a terminal, plain lines elsewhere, and one small file in the
run's folder, which `bench status` reads."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from issbench.bench.position import FILE, Position, write_position
from issbench.errors import UsageError, UserError, reason_of
from issbench.files import explained

if TYPE_CHECKING:
    from issbench.bench.engine.plan import Plan
    from issbench.results.record import StepRecord

_EVERY = 10.0
"""Seconds between two writings of the file: hundreds of runs may share a file system."""


class Reporter:
    """Reports to `console` (quiet when it is None), to the log file of the run, and to TensorBoard if asked."""

    def __init__(self, console: Console | None = None, tensorboard: bool = False):
        self.console = console
        self._board_of = _summary_writer() if tensorboard else None
        self._board: Any = None
        self._log: Path | None = None
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._run = ""
        self._epochs = self._total = self._start = self._step = self._done = 0
        self._started = self._written = 0.0
        self._last_step = 0
        self._folder: Path | None = None

    @property
    def live(self) -> bool:
        """Whether bars are drawn."""
        return self.console is not None and self.console.is_terminal

    @contextmanager
    def running(self, plans: Sequence[Plan]) -> Iterator[None]:
        """Around all experiments: a bar that counts their steps."""
        if not self.live:
            yield
            return
        columns = (
            TextColumn("{task.description}", justify="left"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[info]}"), TextColumn("ETA"), TimeRemainingColumn(),
        )  # fmt: skip
        # The long window steadies the estimate of a run whose steps differ in speed.
        with Progress(*columns, console=self.console, transient=True, speed_estimate_period=600) as self._bars:
            total = sum(len(plan.steps) for plan in plans)
            self._tasks["steps"] = self._bars.add_task("all steps", total=total, info="")
            yield
        self._bars = None

    def scan(self, what: str, done: int, total: int) -> None:
        """Labels read for the table of class presence."""
        if self.console is None:
            return
        if self.live:
            end = "\n" if done == total else "\r"
            self.console.print(
                f"reading the labels of {what}: {done}/{total}", end=end, highlight=False, markup=False
            )
        elif done == total:
            self.console.print(f"read the {total} labels of {what}", highlight=False, markup=False)

    def start_run(self, plan: Plan, folder: Path) -> None:
        """The next run begins; its lines go to `log.txt` in its folder, too."""
        experiment = plan.experiment
        self._run, self._log = experiment.method, folder / "log.txt"
        self._folder, self._last_step = folder, plan.steps[-1].index
        self._board = self._board_of and self._board_of(folder / "tensorboard")
        images = f", images {experiment.images}" if experiment.images != "1" else ""
        self.note(
            f"{experiment.scenario} {experiment.setting}, order {experiment.order}{images}, seed {experiment.seed}"
        )

    def start_training(self, step: int, epochs: int, iterations: int, start: int) -> None:
        """A step starts, or resumes at iteration `start`."""
        self._epochs, self._total, self._start = epochs, iterations, start
        self._started, self._step = time.monotonic(), step
        self._write_position(start)
        if self._bars:
            name = f"{self._run}: step {step}"
            self._tasks["training"] = self._bars.add_task(name, total=iterations, completed=start, info="")

    def advance(self, iteration: int) -> None:
        """Iterations done so far in this step."""
        if time.monotonic() - self._written >= _EVERY:
            self._write_position(iteration)
        if self._bars:
            part = iteration / self._total
            self._bars.update(self._tasks["steps"], completed=self._done + part)
            info = f"epoch {self._epoch(iteration)}/{self._epochs}"
            self._bars.update(self._tasks["training"], completed=iteration, info=info)

    def _epoch(self, iteration: int) -> int:
        return min(self._epochs, 1 + iteration * self._epochs // self._total)

    def _left(self, iteration: int) -> float:
        """Seconds to the end of the step, at the speed since it was started or resumed."""
        done = max(1, iteration - self._start)
        return (time.monotonic() - self._started) / done * (self._total - iteration)

    def _write_position(self, iteration: int) -> None:
        """Tell `bench status` where the run is. A file system that refuses this must not end the run."""
        if self._folder is None:
            return
        left = self._left(iteration) if iteration > self._start else None
        position = Position(
            self._step,
            self._last_step,
            iteration,
            self._total,
            self._epoch(iteration),
            self._epochs,
            left,
            time.time(),
            socket.gethostname(),
            os.getpid(),
        )
        self._written = time.monotonic()
        with suppress(OSError):
            write_position(self._folder, position)

    def end_epoch(self, epoch: int, terms: dict[str, float], iteration: int, seconds: float) -> None:
        """An epoch is over; `terms` are the means of the loss terms."""
        for name, value in terms.items() if self._board else ():
            self._board.add_scalar(f"step {self._step}/{name}", value, epoch)
        loss = " + ".join(f"{name} {value:.4f}" for name, value in terms.items())
        self.note(
            f"step {self._step} epoch {epoch}/{self._epochs}  loss {loss}  "
            f"{seconds:.0f} s, {timedelta(seconds=round(self._left(iteration)))} to go",
            epoch=True,
        )

    def end_training(self) -> None:
        """The training of a step is over."""
        if self._bars:
            self._bars.remove_task(self._tasks.pop("training"))

    def end_step(self, record: StepRecord) -> None:
        """A step is evaluated, or was found in the store."""
        known = {name: value for name, value in record["metrics"]["groups"].items() if value is not None}
        for name, value in known.items() if self._board else ():
            self._board.add_scalar(f"mIoU/{name}", value, record["step"])
        groups = ", ".join(f"{name} {value:.1f}" for name, value in known.items())
        self.note(f"step {record['step']} done: mIoU {groups}")
        self._done += 1
        if self._bars:
            self._bars.update(self._tasks["steps"], completed=self._done)

    def end_run(self) -> None:
        """The run is complete."""
        if self._board:
            self._board.close()
        if self._folder:
            with suppress(OSError):
                (self._folder / FILE).unlink(missing_ok=True)
        self._log = self._board = self._folder = None

    def fail_run(self, error: Exception) -> None:
        """The run ended in an error, and another one begins; one that no user can mend is logged with its place."""
        self.note(f"failed: {reason_of(error)}")
        if not isinstance(error, UserError):
            self._add_to_log("".join(traceback.format_exception(error)))
        if "training" in self._tasks:
            self.end_training()
        self.end_run()

    def note(self, text: str, epoch: bool = False) -> None:
        """A line; lines of single epochs are left to the bars on a terminal."""
        line = f"[{self._run}] {text}" if self._run else text
        self._add_to_log(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        if self.console is not None and not (epoch and self.live):
            (self._bars.console if self._bars else self.console).print(
                line, highlight=False, markup=False, soft_wrap=True
            )

    def _add_to_log(self, text: str) -> None:
        """A file system that refuses this must not end the run: it is said once, and the run goes on."""
        log = self._log
        if log is None:
            return
        try:
            with log.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            self._log = None
            self.note(f"the run goes on without its log: {explained(error)}")


def _summary_writer() -> Any:
    """TensorBoard's writer; raises UsageError where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("--tensorboard needs `pip install issbench[tensorboard]`") from None
    return SummaryWriter
