"""What Slurm says of jobs, as its commands print it. Needs no torch."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass

from issbench.bench.launching.launcher import NoAnswer
from issbench.errors import RunError
from issbench.slurm.ask import ask_slurm

WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
"""States of jobs in the queue that do not run; the others there do, or are about to begin or end."""

_HINTS_WAITING = {
    "BeginTime": "starts again at {start}",
    "JobHeld": "`scontrol release {job}` lets it go",
    "launch failed requeued held": "`scontrol release {job}` tries again",
    "JobArrayTaskLimit": "--max-parallel of its submission",
    "PartitionTimeLimit": "lower --time, or choose another --partition",
}
"""What helps a user, by the beginning of Slurm's reason."""

_HINTS_ENDED = {
    "OUT_OF_MEMORY": "ask for more with --mem, or more --gpus",
    "TIMEOUT": "it was not requeued",
    "NODE_FAIL": "it was not requeued",
    "COMPLETED": "but the run is not complete",
}


@dataclass(frozen=True)
class QueuedJob:
    """A job that has not ended."""

    job: str
    """`ID`, or `ARRAY_INDEX`."""
    state: str
    """Slurm's word: PENDING, RUNNING, SUSPENDED, COMPLETING …"""
    start: str
    """When it started or will start, local time; `N/A` if unknown."""
    reason: str
    """Why it waits (`Dependency`, `Priority` …); `None` for a running one."""

    @property
    def waits(self) -> bool:
        """Whether it does not run yet."""
        return self.state in WAITING

    @property
    def detail(self) -> str:
        """Slurm's reason, and what helps."""
        if self.reason in ("None", ""):
            return "about to start"
        values = {"start": self.start.replace("T", " "), "job": self.job}
        hints = (hint.format(**values) for reason, hint in _HINTS_WAITING.items() if self.reason.startswith(reason))
        return "; ".join([self.reason, *hints])


@dataclass(frozen=True)
class EndedJob:
    """A job that Slurm's accounting knows, usually one that has ended."""

    job: str
    state: str
    """Slurm's word: COMPLETED, FAILED, CANCELLED, TIMEOUT, OUT_OF_MEMORY, NODE_FAIL …"""
    exit_code: int
    signal: int
    """The signal that ended it, or 0."""

    @property
    def seems_alive(self) -> bool:
        """Whether accounting, which is often late, has it as one that waits or runs."""
        return self.state in {*WAITING, "RUNNING", "SUSPENDED", "COMPLETING"}

    @property
    def detail(self) -> str:
        """How it ended, and what helps."""
        if self.state == "FAILED":
            return f"FAILED by signal {self.signal}" if self.signal else f"FAILED with exit code {self.exit_code}"
        hint = _HINTS_ENDED.get(self.state)
        return f"{self.state}; {hint}" if hint else self.state


def queue(jobs: Iterable[str]) -> dict[str, QueuedJob]:
    """Those of the jobs that wait or run, by their ids; a job that ended is not there. One call of `squeue`."""
    wanted = set(jobs)
    if not wanted:
        return {}
    lines = ask_slurm(
        ["squeue", "--array", "--noheader", f"--jobs={_arrays(wanted)}", "--format=%i|%T|%S|%r"],
        unknown="Invalid job id",
    )
    rows = (line.strip().split("|", 3) for line in lines)
    found = [QueuedJob(*row) for row in rows if len(row) == 4]  # not a greeting of the cluster
    return {queued.job: queued for queued in found if queued.job in wanted}


def ended(jobs: Iterable[str]) -> dict[str, EndedJob]:
    """How jobs ended, by their ids, the last time if they were requeued. One call of `sacct`.

    Nothing of those that accounting does not know (yet: it may be some seconds late). NoAnswer where a cluster
    keeps no accounts.
    """
    wanted = set(jobs)
    if not wanted:
        return {}
    fields = "JobID,State,ExitCode"
    lines = ask_slurm(
        ["sacct", "-X", "--noheader", "--parsable2", f"--jobs={_arrays(wanted)}", f"--format={fields}"],
        insist=False,
    )
    rows = [line.split("|") for line in lines]
    rows = [row for row in rows if len(row) == 3 and row[1].strip() and re.fullmatch(r"\d+(:\d+)?", row[2])]
    jobs_of = {row[0]: wanted & _tasks(row[0]) for row in rows}
    return {job: _ended(job, *row[1:]) for row in rows for job in jobs_of.get(row[0], ())}


def number_of(name: str, since: float) -> str | None:
    """The number of the job, or array, that was submitted under a name after a time (seconds since 1970); None if
    Slurm has none. Asks `squeue`, which also knows what ended a moment ago, and then `sacct`.

    NoAnswer where `squeue` does not answer.
    """
    lines = ask_slurm(["squeue", "--noheader", "--states=all", f"--name={name}", "--format=%i|%j"])
    if not any(line.strip().endswith(f"|{name}") for line in lines):
        start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since - 3600))
        asked = [f"--name={name}", f"--starttime={start}", "--format=JobID,JobName%200"]
        try:
            lines = ask_slurm(["sacct", "-X", "--noheader", "--parsable2", *asked], insist=False)
        except NoAnswer:
            return None
    rows = (line.strip().partition("|") for line in lines)
    numbers = (re.match(r"\d+", job) for job, _, found in rows if found == name)
    return next((number.group() for number in numbers if number), None)


def _arrays(jobs: Iterable[str]) -> str:
    return ",".join(sorted({job.partition("_")[0] for job in jobs}))


def _tasks(job: str) -> set[str]:
    """The ids of the jobs that `sacct` names together: tasks of an array that never ran are `7_[0-3,5%4]`."""
    array, bracket, spans = job.rstrip("]").partition("_[")
    if not bracket:
        return {job}
    ends = (span.split("-") for span in spans.partition("%")[0].split(",") if span.replace("-", "").isdecimal())
    return {f"{array}_{index}" for first, *last in ends for index in range(int(first), int([first, *last][-1]) + 1)}


def _ended(job: str, state: str, code: str) -> EndedJob:
    """From words of `sacct` such as `7_1`, `CANCELLED by 1000`, `0:15`."""
    exit_code, _, signal = code.partition(":")
    return EndedJob(job, state.split()[0], int(exit_code), int(signal or 0))


def check_slurm() -> None:
    """RunError on a machine from which nothing can be submitted."""
    for program in ("sbatch", "squeue"):
        if shutil.which(program) is None:
            raise RunError(
                f"--slurm: this machine has no {program}; submit from a login node of the cluster, or use --local"
            )


def max_array_size() -> int:
    """How many jobs an array of this cluster may have; 1 where it takes no arrays, Slurm's default where it does
    not say."""
    try:
        lines = ask_slurm(["scontrol", "show", "config"])
    except NoAnswer:
        lines = []
    found = (re.match(r"MaxArraySize\s*=\s*(\d+)", line) for line in lines)
    return next((max(1, int(match.group(1))) for match in found if match), 1001)
