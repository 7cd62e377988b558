"""Hands the runs of a sweep to Slurm, through submitit: what the store lacks and no queued job makes."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from filelock import SoftFileLease
from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError
from submitit.helpers import clean_env

from issbench.bench.engine.plan import Plan
from issbench.bench.engine.store import Store
from issbench.bench.sweep import is_done
from issbench.errors import RunError
from issbench.slurm.job import Job
from issbench.slurm.layout import After, Array, Need, lay_out
from issbench.slurm.profile import Profile, Settings
from issbench.slurm.queue import ask_slurm, check_slurm, queue
from issbench.slurm.submissions import (
    Executor,
    Submission,
    SubmittedRun,
    jobs_dir,
    latest,
    load_submissions,
    save_submission,
    submission_dir,
    submissions_dir,
)

_HINTS = {
    r"configuration source|contact|connect": "the cluster does not answer; try `sinfo`",
    r"partition": "choose another --partition; `sinfo` lists them",
    r"account|qos": "check --account and --qos; `sacctmgr show associations user=$USER` lists yours",
    r"policy|limit.*(exceeded|reached)|max.*submit": "when some jobs have ended, the same command submits the rest",
    r"time limit": "lower --time",
    r"node configuration|node count|cpu count|memory|gres|feature": (
        "no node has what is asked; change --gpus, --nodes, --cpus, --mem or --constraint"
    ),
}


@dataclass(frozen=True)
class Request:
    """How runs are to be submitted."""

    profile: Profile
    settings: Settings
    kind: str
    """What the submission is named after: `run`, `sweep`, `retry`."""
    command: tuple[str, ...]
    directory: str
    """Where the command was given; relative paths of the experiments start there."""


@dataclass(frozen=True)
class Todo:
    """What of a sweep is to be submitted."""

    plans: tuple[Plan, ...]
    needs: tuple[Need, ...]
    """The same runs, by their positions."""
    queued: int
    """Runs that are left out because a job of an earlier submission waits or runs."""


def find_todo(plans: Sequence[Plan], store: Store) -> Todo:
    """The runs that are neither done nor queued, and which of their first steps are missing or queued."""
    waiting = [plan for plan in plans if not is_done(plan, store)]
    runs, firsts = _submitted(waiting, store)
    alive = queue([*runs.values(), *firsts.values()])
    chosen = [plan for plan in waiting if runs.get(plan.experiment.run_name) not in alive]
    needs = []
    for position, plan in enumerate(chosen):
        key = plan.steps[0].key
        job = firsts.get(key)
        missing = not store.has_step(key)
        needs.append(Need(position, key if missing else None, job if missing and job in alive else None))
    return Todo(tuple(chosen), tuple(needs), len(waiting) - len(chosen))


def _submitted(plans: Sequence[Plan], store: Store) -> tuple[dict[str, str], dict[str, str]]:
    """The last jobs that were submitted to Slurm for these runs, and for their first steps by their keys."""
    names, keys = {plan.experiment.run_name for plan in plans}, {plan.steps[0].key for plan in plans}
    submissions = [each for each in load_submissions(store.root) if each.executor == "slurm"]
    runs = {name: run.job for name, (_, run) in latest(submissions).items() if name in names and run.job}
    every = (run for submission in submissions for run in submission.runs)
    return runs, {run.steps[0]: run.first_job for run in every if run.first_job and run.steps[0] in keys}


def arrays_for(todo: Todo, profile: Profile) -> list[Array]:
    """The job arrays to submit, as large as this cluster takes them."""
    return lay_out(todo.needs, _max_array_size(), profile.max_parallel)


def submit(plans: Sequence[Plan], store: Store, request: Request) -> tuple[Submission | None, Todo]:
    """Submit what is missing and record it; no submission where nothing is.

    RunError with Slurm's words where it refuses; what was submitted before is recorded. Of two that submit at the
    same time, the second waits and sees what the first one queued.
    """
    check_slurm()
    with submitting(store.root):
        todo = find_todo(plans, store)
        if not todo.plans:
            return None, todo
        submission = new_submission(store.root, "slurm", todo.plans, request)
        return _hand_over(submission, todo, store.root, request), todo


@contextmanager
def submitting(out: Path) -> Iterator[None]:
    """Hold the lock under which submissions of a run store are made."""
    folder = submissions_dir(out)
    folder.mkdir(parents=True, exist_ok=True)
    with SoftFileLease(folder / ".lock"):
        yield


def new_submission(out: Path, executor: Executor, plans: Sequence[Plan], request: Request) -> Submission:
    """A record without jobs, under the next free name: `sweep-1`, `run-2` …"""
    numbers = (re.search(r"\d+$", path.name) for path in submissions_dir(out).iterdir())
    number = 1 + max((int(found.group()) for found in numbers if found), default=0)
    settings = dataclasses.asdict(request.settings)
    del settings["out"]  # the record lies in it, and it may be moved
    return Submission(
        name=f"{request.kind}-{number}",
        created=time.time(),
        executor=executor,
        command=request.command,
        directory=request.directory,
        profile=request.profile.describe(),
        settings=settings,
        runs=tuple(_unsubmitted(plan) for plan in plans),
    )


def _unsubmitted(plan: Plan) -> SubmittedRun:
    experiment = plan.experiment
    keys = tuple(step.key for step in plan.steps)
    tests = tuple(plan.evaluation_name(step) for step in plan.steps)
    return SubmittedRun(experiment.run_name, experiment.label, experiment.describe(), keys, tests, None, None)


def _hand_over(submission: Submission, todo: Todo, out: Path, request: Request) -> Submission:
    """Submit array after array; the record is written after each."""
    arrays = arrays_for(todo, request.profile)
    save_submission(out, submission)
    executor = _executor(out, submission, request.profile)
    ids: list[list[str]] = []
    for array in arrays:
        last_step = 0 if array.firsts else None
        jobs = [Job(submission.runs[run].experiment, request.settings, last_step) for run in array.runs]
        executor.update_parameters(
            dependency=_dependency(array.after, ids) or None, array_parallelism=array.at_once or len(jobs)
        )
        try:
            with _outside_of_jobs(), redirect_stderr(StringIO()):  # the words of sbatch are in the error
                ids.append([job.job_id for job in executor.submit_array(jobs)])
        except FailedJobError as error:
            raise _refusal(str(error), sum(map(len, ids)), out, submission) from None
        submission = _with_jobs(submission, todo, array, ids[-1])
        save_submission(out, submission)
    return submission


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Where this runs in a job itself, hide that job from sbatch, but not which cluster it is on."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    cluster = {key: value for key, value in os.environ.items() if key == "SLURM_CONF"}
    with clean_env():
        os.environ.update(cluster)
        yield


def _executor(out: Path, submission: Submission, profile: Profile) -> SlurmExecutor:
    # A run may need any number of time limits; each of them brings it further.
    executor = SlurmExecutor(jobs_dir(out, submission.name), max_num_timeout=1_000_000)
    srun = ["--kill-on-bad-exit=1"]  # where one process fails, the others would wait for it
    if profile.cpus:
        srun.append(f"--cpus-per-task={profile.cpus}")  # srun no longer takes it from sbatch
    executor.update_parameters(
        job_name=f"bench-{submission.name}",
        partition=profile.partition,
        time=profile.minutes,
        nodes=profile.nodes,
        ntasks_per_node=profile.tasks_per_node,
        gpus_per_node=profile.gpus or None,
        cpus_per_task=profile.cpus,
        mem=profile.mem,
        account=profile.account,
        qos=profile.qos,
        constraint=profile.constraint,
        exclude=profile.exclude,
        setup=list(profile.setup) or None,
        signal_delay_s=profile.grace,
        stderr_to_stdout=True,
        srun_args=srun,
        additional_parameters={
            "requeue": True, "kill-on-invalid-dep": "yes", "chdir": submission.directory, **profile.extra
        },
    )  # fmt: skip
    return executor


def _dependency(after: Sequence[After], ids: Sequence[Sequence[str]]) -> str:
    """What sbatch calls it, such as `aftercorr:7,afterany:7:9`."""
    jobs: dict[str, list[str]] = {}
    for each in after:
        if isinstance(each.on, str):
            job = each.on
        elif each.index is not None:
            job = ids[each.on][each.index]
        else:
            job = ids[each.on][0].partition("_")[0]
        jobs.setdefault(each.how, []).append(job)
    return ",".join(f"{how}:{':'.join(dict.fromkeys(found))}" for how, found in jobs.items())


def _with_jobs(submission: Submission, todo: Todo, array: Array, jobs: Sequence[str]) -> Submission:
    """The record with the jobs of an array that was submitted."""
    runs, job_of = list(submission.runs), dict(zip(array.runs, jobs, strict=True))
    first_of = {todo.needs[run].first: job for run, job in job_of.items()} if array.firsts else {}
    for position, need in enumerate(todo.needs):
        if array.firsts and need.queued is None and need.first in first_of:
            runs[position] = replace(runs[position], first_job=first_of[need.first])
        elif not array.firsts and position in job_of:
            first = runs[position].first_job or need.queued
            runs[position] = replace(runs[position], first_job=first, job=job_of[position])
    return replace(submission, runs=tuple(runs))


def _refusal(words: str, handed_over: int, out: Path, submission: Submission) -> RunError:
    """Slurm's words and what to change. Nothing remains of a submission of which no job was taken."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in words.strip().splitlines()]
    said = lines[-1] if lines else "sbatch failed without a word"
    hint = next((text for pattern, text in _HINTS.items() if re.search(pattern, words, re.I)), "change the options")
    if not handed_over:
        shutil.rmtree(submission_dir(out, submission.name), ignore_errors=True)
        return RunError(f"Slurm took no job: {said}; {hint}")
    return RunError(
        f"Slurm took {handed_over} jobs of {submission.name} and then no more: {said}; {hint}. The same command "
        "submits what is left"
    )


def _max_array_size() -> int:
    """How many jobs an array of this cluster may have."""
    lines = ask_slurm(["scontrol", "show", "config"])
    found = (re.match(r"MaxArraySize\s*=\s*(\d+)", line) for line in lines)
    return next((int(match.group(1)) for match in found if match), 1001)
