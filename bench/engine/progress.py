"""What a user sees while experiments run: live bars on a terminal, plain lines elsewhere, and one small file in the
run's folder, which `bench status` reads."""

from __future__ import annotations

import logging
import os
import socket
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from issbench.bench.position import FILE, Position, write_position
from issbench.errors import UsageError, UserError, reason_of
from issbench.files import explained
from issbench.text import clock

if TYPE_CHECKING:
    from issbench.bench.engine.plan import Plan, StepPlan
    from issbench.results.record import StepRecord

_LOGGER = logging.getLogger("issbench")
_EVERY = 10.0
"""Seconds between two writings of the file: hundreds of runs may share a file system."""


class Reporter:
    """Reports to `console`, to the log file of the run, and to TensorBoard if asked. Without a console the lines go
    to the logger `issbench`, which shows them to those alone who configure it."""

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
        self._number = self._runs = 0
        self._steps: dict[int, StepPlan] = {}
        self._to_train: dict[str, int] = {}
        self._trained = 0
        self._begun: float | None = None
        self._loss: float | None = None
        self._folder: Path | None = None

    @property
    def live(self) -> bool:
        """Whether bars are drawn."""
        return self.console is not None and self.console.is_terminal

    @contextmanager
    def running(self, plans: Sequence[Plan], missing: Collection[str] = ()) -> Iterator[None]:
        """Around all experiments, whose steps `missing` must be trained: a bar that counts their steps."""
        self._runs = len(plans)
        steps = (step for plan in plans for step in plan.steps)
        self._to_train = {step.key: step.images_seen for step in steps if step.key in missing}
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

    def start_run(self, plan: Plan, folder: Path | None) -> None:
        """The next run begins; its lines go to `log.txt` in its folder, too. None: another process reports it."""
        experiment = plan.experiment
        self._run, self._last_step = experiment.method, plan.steps[-1].index
        self._number, self._steps = self._number + 1, {step.index: step for step in plan.steps}
        if folder is None:
            return
        self._folder, self._log = folder, folder / "log.txt"
        self._board = self._board_of and self._board_of(folder / "tensorboard")
        images = f", images {experiment.images}" if experiment.images != "1" else ""
        self.note(
            f"{self._which}{experiment.scenario} {experiment.setting}, order {experiment.order}{images}, "
            f"seed {experiment.seed}; log: {self._log}"
        )

    def start_training(self, step: int, epochs: int, iterations: int, start: int) -> None:
        """A step starts, or resumes at iteration `start`."""
        self._epochs, self._total, self._start = epochs, iterations, start
        self._started, self._step = time.monotonic(), step
        self._begun, self._loss = self._begun or self._started, None
        self._write_position(start)
        if self._bars:
            name = f"{self._which}{self._run}: step {step}/{self._last_step}"
            self._tasks["training"] = self._bars.add_task(name, total=iterations, completed=start, info="")

    def advance(self, iteration: int) -> None:
        """Iterations done so far in this step."""
        if time.monotonic() - self._written >= _EVERY:
            self._write_position(iteration)
        if self._bars:
            part = iteration / self._total
            self._bars.update(self._tasks["steps"], completed=self._done + part)
            loss = "" if self._loss is None else f"  loss {self._loss:.3f}"
            rate = self._rate(iteration)
            speed = "" if rate is None else f"  {rate:.1f} images/s"
            info = f"epoch {self._epoch(iteration)}/{self._epochs}{loss}{speed}"
            self._bars.update(self._tasks["training"], completed=iteration, info=info)

    def _epoch(self, iteration: int) -> int:
        return min(self._epochs, 1 + iteration * self._epochs // self._total)

    def _left(self, iteration: int) -> float:
        """Seconds to the end of the step, at the speed since it was started or resumed."""
        done = max(1, iteration - self._start)
        return (time.monotonic() - self._started) / done * (self._total - iteration)

    @property
    def _which(self) -> str:
        """Which run of how many this is."""
        return f"run {self._number}/{self._runs}, " if self._runs > 1 else ""

    def _seen(self, iteration: int) -> int:
        """Images of this step that were trained on here."""
        return (iteration - self._start) * self._steps[self._step].recipe.batch

    def _rate(self, iteration: int) -> float | None:
        """Images a second in this step."""
        seconds = time.monotonic() - self._started
        return self._seen(iteration) / seconds if iteration > self._start and seconds > 0 else None

    def _left_of_all(self, iteration: int) -> float | None:
        """Seconds to the end of all runs, at the speed since the first training here, tests included."""
        seen = self._trained + self._seen(iteration)
        here = self._steps[self._step]
        if not seen or self._begun is None or not self._to_train:
            return None
        done = iteration * here.recipe.batch if here.key in self._to_train else 0
        return (sum(self._to_train.values()) - done) * (time.monotonic() - self._begun) / seen

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
            self._rate(iteration),
            self._loss,
            self._left_of_all(iteration),
        )
        self._written = time.monotonic()
        with suppress(OSError):
            write_position(self._folder, position)

    def end_epoch(self, epoch: int, terms: dict[str, float], iteration: int, seconds: float) -> None:
        """An epoch is over; `terms` are the means of the loss terms."""
        for name, value in terms.items() if self._board else ():
            self._board.add_scalar(f"step {self._step}/{name}", value, epoch)
        self._loss = sum(terms.values())
        loss = " + ".join(f"{name} {value:.4f}" for name, value in terms.items())
        rate, left = self._rate(iteration) or 0.0, self._left_of_all(iteration)
        whole = "" if left is None else f", {clock(left)} for all runs"
        self.note(
            f"{self._which}step {self._step}/{self._last_step} epoch {epoch}/{self._epochs}  loss {loss}  "
            f"{seconds:.0f} s, {rate:.1f} images/s, {clock(self._left(iteration))} to the end of the step{whole}",
            epoch=True,
        )

    def end_training(self) -> None:
        """The training of a step is over."""
        self._trained += self._seen(self._total)
        self._to_train.pop(self._steps[self._step].key, None)
        if self._bars:
            self._bars.remove_task(self._tasks.pop("training"))

    def end_step(self, record: StepRecord) -> None:
        """A step is evaluated, or was found in the store."""
        known = {name: value for name, value in record["metrics"]["groups"].items() if value is not None}
        for name, value in known.items() if self._board else ():
            self._board.add_scalar(f"mIoU/{name}", value, record["step"])
        groups = ", ".join(f"{name} {value:.1f}" for name, value in known.items())
        self.note(f"step {record['step']} done: mIoU {groups}")
        self._to_train.pop(record["key"] or "", None)
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
        for step in self._steps.values():  # another run that needs one of them trains it nevertheless
            if step.index >= self._step:
                self._to_train.pop(step.key, None)
        if "training" in self._tasks and self._bars:
            self._bars.remove_task(self._tasks.pop("training"))
        self.end_run()

    def note(self, text: str, epoch: bool = False) -> None:
        """A line; lines of single epochs are left to the bars on a terminal."""
        line = f"[{self._run}] {text}" if self._run else text
        self._add_to_log(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        if self.console is None:
            _LOGGER.info("%s", line)
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
