"""What Slurm's words mean for a run, in plain ones."""

from __future__ import annotations

import signal

from issbench.slurm.queue import EndedJob, QueuedJob

WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
"""States of jobs in the queue that do not run; the others there do, or are about to begin or end."""

NEVER = "DependencyNeverSatisfied"

_REASONS = {
    "None": "about to start",
    "Priority": "jobs of higher priority come first",
    "Resources": "waits for free nodes",
    "Dependency": "waits for another job",
    "JobArrayTaskLimit": "waits for other runs of its sweep (--max-parallel)",
    "JobHeldUser": "held; `scontrol release` lets it go",
    "JobHeldAdmin": "held by an administrator",
    "launch failed requeued held": "could not be started and is held; `scontrol release` tries again",
    "PartitionTimeLimit": "asks for more time than its partition gives",
    "PartitionNodeLimit": "asks for more nodes than its partition gives",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition is inactive",
    "NodeDown": "a node that it needs is down",
    "ReqNodeNotAvail": "a node that it needs is not available",
    "BadConstraints": "no node is as --constraint asks",
    "Reservation": "waits for a reservation",
    "Licenses": "waits for a licence",
    "Cleaning": "its last attempt is being cleaned up",
}
_LIMITS = ("QOS", "Assoc", "MaxJobs", "MaxCpu", "MaxMem")

_ENDS = {
    "COMPLETED": "its job ended well, but the run is not complete",
    "TIMEOUT": "reached its time limit and was not requeued",
    "OUT_OF_MEMORY": "ran out of memory; ask for more with --mem",
    "NODE_FAIL": "its node failed, and it was not requeued",
    "BOOT_FAIL": "its node could not be started",
    "DEADLINE": "could not end before its deadline",
    "PREEMPTED": "preempted and not requeued",
    "CANCELLED": "cancelled",
    "REVOKED": "taken away by another cluster",
}


def why_it_waits(job: QueuedJob) -> str:
    """Why a queued job does not run yet."""
    reason = job.reason.partition(",")[0].strip()  # ReqNodeNotAvail, UnavailableNodes:n[1-4]
    if reason == "BeginTime":
        return f"starts again at {job.start.replace('T', ' ')}"
    if reason.startswith(_LIMITS):
        return f"a limit of your account or quality of service is reached ({reason})"
    return _REASONS.get(reason, reason)


def how_it_ended(job: EndedJob) -> str:
    """How a job ended that did not complete its run."""
    if job.signal and job.state == "FAILED":
        return f"killed by signal {_signal_name(job.signal)}"
    return _ENDS.get(job.state, f"failed with exit code {job.exit_code}" if job.exit_code else job.state.lower())


def _signal_name(number: int) -> str:
    try:
        return f"{number} ({signal.Signals(number).name.removeprefix('SIG')})"
    except ValueError:
        return str(number)
