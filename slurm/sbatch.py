"""Submits arrays of jobs through submitit, and explains a refusal."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor
from submitit.core.utils import FailedJobError
from submitit.helpers import clean_env

from issbench.bench.launching.profile import Profile
from issbench.bench.launching.submissions import Submission, jobs_dir
from issbench.errors import RunError
from issbench.slurm.cluster_job import ClusterJob

_NUMBER_OF_JOB = "_get_job_id_from_submission_command"

_HINTS = {
    r"configuration source|contact|connect": "the cluster does not answer; try `sinfo`",
    r"partition": "choose another --partition; `sinfo` lists them",
    r"policy|limit.*(exceeded|reached)|max.*submit": "when some jobs have ended, the same command submits the rest",
    r"account|qos": "check --account and --qos; `sacctmgr show associations user=$USER` lists yours",
    r"time limit": "lower --time",
    r"node configuration|node count|cpu count|memory|gres|feature": (
        "no node has what is asked; change --gpus, --nodes, --cpus, --mem or --constraint"
    ),
}


class Refused(Exception):
    """Slurm did not take an array; the message has its words."""


class Sbatch:
    """Submits the arrays of one submission."""

    def __init__(self, out: Path, submission: Submission, profile: Profile):
        # A run may need any number of time limits; each of them brings it further.
        self.executor = SlurmExecutor(jobs_dir(out, submission.name), max_num_timeout=1_000_000)
        self.executor.update_parameters(**_parameters(submission, profile))

    def submit(self, jobs: Sequence[ClusterJob], dependency: str | None, at_once: int | None) -> list[str]:
        """Submit jobs as one array; their ids. Raises Refused."""
        self.executor.update_parameters(dependency=dependency, array_parallelism=at_once or len(jobs))
        try:
            with _outside_of_jobs(), redirect_stderr(StringIO()):  # the words of sbatch are in the error
                return [job.job_id for job in self.executor.submit_array(jobs)]
        except FailedJobError as error:
            raise Refused(str(error)) from None


def _parameters(submission: Submission, profile: Profile) -> dict[str, Any]:
    srun = ["--kill-on-bad-exit=1"]  # where one process fails, the others would wait for it
    if profile.cpus:
        srun.append(f"--cpus-per-task={profile.cpus}")  # srun no longer takes it from sbatch
    return {
        "job_name": f"bench-{submission.name}",
        "partition": profile.partition,
        "time": profile.minutes,
        "nodes": profile.nodes,
        "ntasks_per_node": profile.tasks_per_node,
        "gpus_per_node": profile.gpus or None,
        "cpus_per_task": profile.cpus,
        "mem": profile.mem,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "setup": list(profile.setup) or None,
        "signal_delay_s": profile.grace,
        "stderr_to_stdout": True,
        "srun_args": srun,
        "additional_parameters": {"requeue": True, "chdir": submission.directory, **profile.extra},
    }


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


def job_number(printed: str | bytes) -> str:
    """The number of a job in what sbatch printed: some clusters put a banner before it, or print nothing else."""
    text = printed.decode() if isinstance(printed, bytes) else printed
    found = re.search(r"Submitted batch job (\d+)", text) or re.search(r"^(\d+)(;\w+)?$", text.strip(), re.M)
    if found is None:
        raise FailedJobError(f"sbatch printed no number of a job, but {text.strip()!r}")
    return found.group(1)


# submitit takes the first `job N` anywhere, also that of a banner. It makes executors for arrays itself, so that a
# class derived from its own would not be asked.
setattr(SlurmExecutor, _NUMBER_OF_JOB, staticmethod(job_number))


def refusal(error: Refused, taken: int, name: str) -> RunError:
    """Slurm's words and what to change."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).strip().splitlines()]
    words = lines[-1] if lines else "sbatch failed without a word"
    hint = next(
        (text for pattern, text in _HINTS.items() if re.search(pattern, str(error), re.I)), "change the options"
    )
    if not taken:
        return RunError(f"Slurm took no job: {words}; {hint}")
    return RunError(
        f"Slurm took {taken} jobs of {name} and then no more: {words}; {hint}. The same command submits the rest"
    )
