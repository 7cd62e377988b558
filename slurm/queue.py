"""What Slurm's queue says of jobs. Needs no torch."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from issbench.errors import RunError

_FIELDS = ("%i", "%T", "%r", "%N", "%S", "%M")


@dataclass(frozen=True)
class QueuedJob:
    """A job that has not ended."""

    job: str
    """`ID`, or `ARRAY_INDEX`."""
    state: str
    """Slurm's word: PENDING, RUNNING, SUSPENDED, COMPLETING …"""
    reason: str
    """Why it waits (`Dependency`, `Priority` …); `None` for a running one."""
    nodes: str
    start: str
    """When it started or will start, local time; `N/A` if unknown."""
    elapsed: str


def queue(jobs: Iterable[str]) -> dict[str, QueuedJob]:
    """Those of the jobs that wait or run, by their ids; a job that ended is not there. One call of `squeue`."""
    wanted = set(jobs)
    arrays = sorted({job.partition("_")[0] for job in wanted})
    if not arrays:
        return {}
    lines = ask_slurm(
        ["squeue", "--array", "--noheader", f"--jobs={','.join(arrays)}", f"--format={'|'.join(_FIELDS)}"],
        unknown="Invalid job id",
    )
    found = (QueuedJob(*line.split("|", len(_FIELDS) - 1)) for line in lines)
    return {each.job: each for each in found if each.job in wanted}


@dataclass(frozen=True)
class EndedJob:
    """A job that Slurm's accounting knows, usually one that has ended."""

    job: str
    state: str
    """Slurm's word: COMPLETED, FAILED, CANCELLED, TIMEOUT, OUT_OF_MEMORY, NODE_FAIL …"""
    exit_code: int
    signal: int
    """The signal that ended it, or 0."""


def ended(jobs: Iterable[str]) -> dict[str, EndedJob]:
    """How jobs ended, by their ids, the last time if they were requeued. One call of `sacct`.

    Nothing of those that accounting does not know (yet: it may be some seconds late), nor where a cluster keeps no
    accounts.
    """
    wanted = set(jobs)
    arrays = sorted({job.partition("_")[0] for job in wanted})
    if not arrays:
        return {}
    fields = "JobID,State,ExitCode"
    try:
        lines = ask_slurm(
            ["sacct", "-X", "--noheader", "--parsable2", f"--jobs={','.join(arrays)}", f"--format={fields}"]
        )
    except RunError:
        return {}
    found = (_ended(*line.split("|")) for line in lines)
    return {each.job: each for each in found if each.job in wanted}


def _ended(job: str, state: str, code: str) -> EndedJob:
    """From words of `sacct` such as `7_1`, `CANCELLED by 1000`, `0:15`."""
    exit_code, _, signal = code.partition(":")
    return EndedJob(job, state.split()[0], int(exit_code), int(signal))


def check_slurm() -> None:
    """RunError on a machine from which nothing can be submitted."""
    for program in ("sbatch", "srun", "squeue", "scontrol"):
        if shutil.which(program) is None:
            raise RunError(
                f"--slurm: this machine has no {program}; submit from a login node of the cluster, or use --local"
            )


def ask_slurm(command: list[str], unknown: str = "") -> list[str]:
    """The lines that one of Slurm's commands prints. Where it ends with the words `unknown`, nothing.

    RunError where the command is missing or fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RunError(
            f"this machine has no {command[0]}; run this on a login node of the cluster, or use --local"
        ) from None
    if done.returncode == 0:
        return [line for line in done.stdout.splitlines() if line.strip()]
    if unknown and unknown in done.stderr:
        return []
    raise RunError(f"{command[0]} failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
