"""The launcher `slurm`: runs as arrays of jobs on a cluster."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from issbench.bench.launching.launcher import Cancelled, JobState, Launcher, NoAnswer, Report, Submitted
from issbench.bench.launching.profile import Profile
from issbench.bench.launching.submissions import (
    Entry,
    Request,
    Submission,
    jobs_dir,
    latest,
    load_submissions,
    new_submission,
    outcome_path,
    save_submission,
    submitting,
)
from issbench.bench.outcome import write_outcome
from issbench.errors import Interrupted
from issbench.slurm.arrays import is_recorded, open_arrays, with_jobs
from issbench.slurm.ask import ask_slurm
from issbench.slurm.layout import Array, Need, lay_out
from issbench.slurm.queue import WAITING, EndedJob, QueuedJob, check_slurm, ended, max_array_size, number_of, queue
from issbench.slurm.unseen import NOT_SHOWN, unseen

if TYPE_CHECKING:
    import torch

    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.store import Store


class Cluster(Launcher):
    """Slurm."""

    name = "slurm"

    def check(self, device: str) -> None:
        """Slurm's commands must be there."""
        check_slurm()

    def device(self, device: str, profile: Profile) -> torch.device:
        """A node's device is not here, so its kind must do."""
        import torch

        return torch.device(("cuda" if profile.gpus else "cpu") if device == "auto" else device)

    def describe(self, plans: Sequence[Plan], store: Store, request: Request) -> list[str]:
        """A line for each array."""
        chosen, needs = self._needs(plans, store, self._recovered(store.root))
        arrays = lay_out(needs, max_array_size(), request.profile.max_parallel)
        lines = [f"array {number:<4} {_described(array)}" for number, array in enumerate(arrays)]
        return lines + [f"{len(plans) - len(chosen)} runs are queued already"] * (len(chosen) < len(plans))

    def submit(self, plans: Sequence[Plan], store: Store, request: Request, report: Report) -> Submitted:
        """Submit what no queued job makes. Of two that submit at the same time, the second waits and sees what the
        first one queued."""
        from issbench.slurm.submit import submit

        with submitting(store.root):
            submissions = self._recovered(store.root, record=True)
            chosen, needs = self._needs(plans, store, submissions)
            queued = len(plans) - len(chosen)
            if queued:
                report(f"{queued} runs are queued already")
            if not chosen:
                report("nothing to submit")
                return Submitted(None, queued)
            submission = new_submission(store.root, self.name, chosen, request)
            runs = (replace(run, first_job=need.queued) for run, need in zip(submission.runs, needs, strict=True))
            submission = replace(submission, runs=tuple(runs))
            try:
                submission = submit(submission, needs, submissions, store.root, request)
            except KeyboardInterrupt:
                raise Interrupted(
                    "interrupted; what Slurm took is recorded, and the same command submits the rest"
                ) from None
        report(_summary(submission, needs, store.root))
        return Submitted(submission, queued)

    def recover(self, out: Path, submissions: Sequence[Submission]) -> list[Submission]:
        """Slurm is asked for the names of the arrays whose numbers are not recorded, if there are any."""
        return [_with_open_arrays(out, submission) for submission in submissions]

    def _recovered(self, out: Path, record: bool = False) -> list[Submission]:
        """This launcher's submissions. `record`: what was found is written down, and what Slurm does not have is
        given up."""
        recorded = [each for each in load_submissions(out) if each.launcher == self.name]
        recovered = self.recover(out, recorded)
        for old, new in zip(recorded, recovered, strict=True) if record else ():
            if new != old:
                save_submission(out, new)
            for array in open_arrays(out, new):
                array.close(taken=is_recorded(new, array))
        return recovered

    def states(self, out: Path, entries: Sequence[Entry]) -> dict[str, JobState]:
        """One question each to `squeue` and `sacct`. A job that neither shows counts as waiting for a while after
        its submission."""
        jobs = {job for _, run in entries for job in (run.job, run.first_job) if job}
        waiting = queue(jobs)
        gone = jobs - waiting.keys()
        try:
            endings, unknown = ended(gone), "Slurm's accounting does not say how (yet)"
        except NoAnswer as error:
            endings, unknown = {}, f"how it ended is not known: {error}"
        waiting |= queue(job for job, end in endings.items() if end.seems_alive)  # some may just have come back
        gone -= waiting.keys()
        silent = {job for job in gone if job not in endings or endings[job].seems_alive}
        found = {job: _queued_state(queued) for job, queued in waiting.items()}
        found |= {job: _ended_state(endings.get(job), unknown) for job in gone}
        return found | {job: JobState("queued", NOT_SHOWN) for job in unseen(out, entries, silent)}

    def cancel(self, out: Path, chosen: Sequence[Entry], others: Sequence[Entry]) -> Cancelled:
        """One call of `scancel`."""
        firsts = {run.first_job for _, run in chosen if run.first_job}
        sharing = [(submission, run) for submission, run in others if run.first_job in firsts]
        alive = {job: state for job, state in self.states(out, [*chosen, *sharing]).items() if state.alive}
        kept = Counter(run.first_job for _, run in sharing if run.first_job in alive and run.job in alive)
        jobs = {run.job for _, run in chosen if run.job in alive} | (firsts & alive.keys() - kept.keys())
        found = sorted(job for job in jobs if job)
        if found:
            _scancel(found, shown=all(alive[job].detail != NOT_SHOWN for job in found))
            _leave_word(out, chosen, found)
        return Cancelled(tuple(found), {job: count for job, count in kept.items() if job})

    def _needs(
        self, plans: Sequence[Plan], store: Store, submissions: Sequence[Submission]
    ) -> tuple[list[Plan], list[Need]]:
        """The runs that no job makes, and which of their first steps are missing or queued."""
        submitted = latest(submissions)
        wanted = {plan.steps[0].key for plan in plans}
        every = [(submission, run) for submission in submissions for run in submission.runs if run.first_job]
        training = [(submission, run) for submission, run in every if run.steps[0][0] in wanted]
        first_jobs = {run.steps[0][0]: run.first_job for _, run in training}
        mine = [submitted[plan.run_name] for plan in plans if plan.run_name in submitted]
        firsts = [(submission, replace(run, job=None)) for submission, run in training]
        alive = {job for job, state in self.states(store.root, [*mine, *firsts]).items() if state.alive}
        jobs = {run.run: run.job for _, run in mine}
        chosen = [plan for plan in plans if jobs.get(plan.run_name) not in alive]
        needs = []
        for position, plan in enumerate(chosen):
            key = plan.steps[0].key
            job = first_jobs.get(key)
            missing = not plan.needs_no_other and not store.has_step(key)
            needs.append(Need(position, key if missing else None, job if missing and job in alive else None))
        return chosen, needs


def _scancel(jobs: Sequence[str], shown: bool) -> None:
    """End jobs; some may have ended by themselves. NoAnswer where Slurm does not know some that it did not show."""
    try:
        ask_slurm(["scancel", *_ranges(jobs)], unknown="Invalid job id" if shown else "")
    except NoAnswer as error:
        later = "" if shown else ". Slurm does not show all of these jobs yet; the same command again ends the rest"
        raise NoAnswer(f"{error}{later}") from None


def _leave_word(out: Path, entries: Sequence[Entry], jobs: Sequence[str]) -> None:
    """An outcome for cancelled jobs that had not begun: a cluster without accounts does not say what became of
    them."""
    for submission, run in entries:
        for job in {run.job, run.first_job} & {*jobs}:
            path = outcome_path(jobs_dir(out, submission.name), str(job))
            if not path.exists():
                write_outcome(path, "interrupted")


def _with_open_arrays(out: Path, submission: Submission) -> Submission:
    """A submission with the jobs of those of its arrays for which Slurm's answer was never recorded."""
    for array in open_arrays(out, submission):
        number = None if is_recorded(submission, array) else number_of(array.name, submission.created)
        if number is not None:
            submission = with_jobs(submission, array, number)
    return submission


def _described(array: Array) -> str:
    what = "first steps" if array.firsts else "runs"
    limit = f", {array.at_once} at once" if array.at_once else ""
    after = ", ".join(f"array {each}" if isinstance(each, int) else f"job {each}" for each in array.after)
    return f"{len(array.runs):>4} {what}{limit}" + (f", after {after}" if after else "")


def _summary(submission: Submission, needs: Sequence[Need], out: Path) -> str:
    firsts = {run.first_job for run, need in zip(submission.runs, needs, strict=True) if not need.queued}
    jobs = [job for job in {run.job for run in submission.runs} | firsts if job]
    arrays = {job.partition("_")[0] for job in jobs}
    return (
        f"submitted {len(submission.runs)} runs as {submission.name}: {len(jobs)} jobs in {len(arrays)} arrays; "
        "watch them with `bench status" + f" --out {out}" * (str(out) != "runs") + "`"
    )


def _queued_state(queued: QueuedJob) -> JobState:
    return JobState("queued", queued.detail) if queued.waits else JobState("running")


def _ended_state(job: EndedJob | None, unknown: str) -> JobState:
    """The state of a job that has left the queue."""
    if job is None:
        return JobState("failed", f"its job has left the queue; {unknown}")
    if job.state in WAITING and job.state != "PENDING":
        return JobState("queued", "about to start")
    if job.seems_alive:
        return JobState("failed", f"its job has left the queue; Slurm's accounting still has it as {job.state}")
    return JobState("stopped" if job.state == "CANCELLED" else "failed", job.detail)


def _ranges(jobs: Iterable[str]) -> Iterator[str]:
    """Jobs as `scancel` takes many at once: `7_[0-3,5]`."""
    arrays: dict[str, list[int]] = defaultdict(list)
    for job in jobs:
        array, _, index = job.partition("_")
        arrays[array] += [int(index)] if index else []
    for array, indices in arrays.items():
        spans = []
        for _, group in groupby(enumerate(sorted(indices)), lambda pair: pair[1] - pair[0]):
            span = [index for _, index in group]
            spans.append(f"{span[0]}-{span[-1]}" if len(span) > 1 else str(span[0]))
        yield f"{array}_[{','.join(spans)}]" if spans else array
