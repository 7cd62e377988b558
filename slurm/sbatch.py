"""Submits arrays of jobs, understands what sbatch answers, and explains a refusal."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from issbench.bench.launching.launcher import NoAnswer
from issbench.bench.launching.profile import Profile
from issbench.bench.launching.submissions import Submission, jobs_dir
from issbench.errors import RunError, UsageError
from issbench.files import sha256_of
from issbench.slurm import ask
from issbench.slurm.arrays import OpenArray, Task, write_array
from issbench.slurm.queue import number_of
from issbench.slurm.script import options, script

PATIENCE = 150.0
"""Seconds in which sbatch must answer: it waits for a busy controller by itself."""

_LIMIT = re.compile(r"policy|max\w*submit|submit\w*limit|array spec|array ?size|job limit|too many jobs", re.I)
"""A refusal that a smaller array may escape."""

_NOT_SENT = re.compile(r"contact|connect|temporarily|in standby", re.I)
"""Away before it got the job: what else sbatch says may come after the controller has taken it."""

_ARRAY = r"array spec|array ?size"
_HINTS = {
    _ARRAY: (
        "it took no smaller ones either, down to a single job; `scontrol show config` has the longest array of the "
        "cluster (MaxArraySize), and its support knows who may submit arrays"
    ),
    r"configuration source|contact|connect|timed? ?out": "the cluster does not answer; try `sinfo`",
    r"account|qos": "check --account and --qos; `sacctmgr show associations user=$USER` lists yours",
    r"partition": "choose another --partition; `sinfo` lists them",
    r"time limit": "lower --time",
    r"node configuration|node count|cpu count|memory|gres|feature": (
        "no node has what is asked; change --gpus, --nodes, --cpus, --mem or --constraint"
    ),
}


class Refused(Exception):
    """Slurm did not take an array; the message has its words."""

    @property
    def is_limit(self) -> bool:
        """Whether it may take a part of it."""
        return _LIMIT.search(str(self)) is not None


class Unclear(RunError):
    """Slurm did not say whether it took an array."""


@dataclass(frozen=True)
class Sbatch:
    """Submits the arrays of one submission."""

    out: Path
    submission: Submission
    profile: Profile

    def submit(
        self, firsts: bool, tasks: Mapping[int, Task], dependency: str | None, at_once: int | None
    ) -> tuple[OpenArray, str]:
        """Submit tasks, by the positions of their runs, as one array; its number. It is to be closed when that is
        recorded.

        Raises Refused; Unclear where Slurm does not say whether it took the array.
        """
        array = write_array(self.out, self.submission.name, firsts, tasks)
        try:
            path = self._write_script(array, len(tasks), dependency, at_once)
            return array, self._number(array, path)
        except (Refused, UsageError):
            array.close(taken=False)
            raise

    def _write_script(self, array: OpenArray, jobs: int, dependency: str | None, at_once: int | None) -> Path:
        logs = jobs_dir(self.out, self.submission.name).absolute()
        logs.mkdir(exist_ok=True)
        asked = options(self.profile, array.name, self.submission.directory, logs, jobs, at_once)
        tasks = array.tasks.absolute()
        command = ["issbench.slurm.cluster_job", str(tasks), sha256_of(tasks)]
        path = array.path.with_suffix(".sh")
        text = script(asked | {"dependency": dependency}, self.profile, logs, command)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")  # paths need not be UTF-8
        return path

    def _number(self, array: OpenArray, path: Path) -> str:
        """Give a script to sbatch. Unless the answer is clear, the queue is asked for the name of the job before
        anything else is done: it may have been taken all the same."""
        for pause in (*ask.PAUSES, None):
            answer = ask.call(["sbatch", str(path)], PATIENCE, _outside_of_jobs())
            number = job_number(answer.out) if answer.code == 0 else None
            number = number or self._taken(array, answer)
            if number is not None:
                return number
            if answer.code == 0:
                raise _unclear(array, f"sbatch printed {answer.out.strip()!r}")
            if answer.code is None or (answer.is_away and not _NOT_SENT.search(answer.err)):
                raise _unclear(array, answer.words)
            if not answer.is_away or pause is None:
                break
            time.sleep(pause)
        raise Refused(answer.words)

    def _taken(self, array: OpenArray, answer: ask.Answer) -> str | None:
        try:
            return number_of(array.name, self.submission.created)
        except NoAnswer as error:
            raise _unclear(array, f"{answer.words}, and then {error}") from None


_ANSWER = re.compile(r"Submitted batch job ([1-9]\d*)(?: on cluster \S+)?", re.ASCII)
_PARSABLE = re.compile(r"([1-9]\d*)(?:;\S+)?", re.ASCII)


def job_number(printed: str) -> str | None:
    """The number of a job in what sbatch printed: `7` or `7;CLUSTER` in the last line, after whatever greeting, or
    one line `Submitted batch job 7`; None for anything else."""
    lines = [line.strip() for line in printed.split("\n") if line.strip()]
    last = _PARSABLE.fullmatch(lines[-1]) if lines else None
    found = [last] if last else [each for each in map(_ANSWER.fullmatch, lines) if each]
    return found[0].group(1) if len(found) == 1 else None


def refusal(error: Refused, taken: int, name: str) -> RunError:
    """Slurm's words and what to change."""
    words = str(error)
    hint = next((text for pattern, text in _HINTS.items() if re.search(pattern, words, re.I)), "change the options")
    full = error.is_limit and not re.search(_ARRAY, words, re.I)
    if taken:
        if full:
            hint = "when some of these jobs have ended, the same command submits the rest"
        return RunError(
            f"Slurm took {taken} jobs of {name} and then no more: {words}; {hint}"
            + ("" if full else ". Then the same command submits the rest")
        )
    if full:
        hint = (
            "not even one job was taken: when others of your jobs have ended, the same command submits these; or "
            "--time, --nodes or --gpus exceed what your account may have, which `sacctmgr show associations "
            "user=$USER` and `sacctmgr show qos` list"
        )
    return RunError(f"Slurm took no job: {words}; {hint}")


def _unclear(array: OpenArray, why: str) -> Unclear:
    return Unclear(
        f"Slurm did not say whether it took {len(array.runs)} jobs: {why}. Nothing more was submitted, and what "
        f"was taken is recorded. `squeue --name {array.name}` shows them if they exist; the same command looks for "
        "them first, and submits what is not there"
    )


def _outside_of_jobs() -> dict[str, str]:
    """The environment for sbatch. Where this runs in a job itself, that job is hidden, but not which cluster it is
    on."""
    if "SLURM_JOB_ID" not in os.environ:
        return dict(os.environ)
    hidden = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_", "SUBMITIT_")
    group = {"MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}
    kept = {"SLURM_CONF", "SLURM_CLUSTERS"}
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or not (name.startswith(hidden) or name in group)
    }
