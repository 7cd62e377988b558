"""The jobs of a sweep on this machine: several at once, each on its own GPU, first steps before the runs that need
them. submitit starts and records them as it does on a cluster."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Lock

from submitit import LocalExecutor, LocalJob
from submitit.helpers import environment_variables

from issbench.bench.engine.plan import Plan
from issbench.bench.engine.store import Store
from issbench.errors import Interrupted, UsageError
from issbench.slurm.job import Job
from issbench.slurm.layout import Need, shared_first_steps
from issbench.slurm.submissions import jobs_dir, save_submission
from issbench.slurm.submit import Request, new_submission, submitting

Tell = Callable[[str], None]


def run_locally(
    plans: Sequence[Plan], store: Store, request: Request, places: Sequence[int | None], tell: Tell
) -> dict[str, str]:
    """Carry out runs, as many at once as there are places: GPUs by their numbers, or None for the CPU. Returns the
    names of those that failed, and why. Interrupted on Ctrl-C or SIGTERM, when all jobs have saved a checkpoint."""
    with submitting(store.root):
        crew = _Crew(plans, store, request, places, tell)
    threads = str(max(1, (os.cpu_count() or 1) // len(places)))
    with environment_variables(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", threads)), _sigterm_as_ctrl_c():
        try:
            return crew.work()
        except KeyboardInterrupt:
            raise Interrupted("interrupted; the same command resumes where it stopped") from None


def gpus_here() -> list[int]:
    """The numbers of this machine's GPUs that may be used, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        return []
    if named is None:
        return list(range(torch.cuda.device_count()))
    try:
        return [int(number) for number in named.split(",")]
    except ValueError:
        raise UsageError(f"CUDA_VISIBLE_DEVICES={named}: --local needs GPUs by their numbers, as in 0,1") from None


class _Crew:
    """Threads that each start a job and wait for its end."""

    def __init__(
        self, plans: Sequence[Plan], store: Store, request: Request, places: Sequence[int | None], tell: Tell
    ):
        self.request, self.tell, self.out, self.size = request, tell, store.root, len(places)
        self.submission = new_submission(store.root, "local", plans, request)
        save_submission(store.root, self.submission)
        keys = [plan.steps[0].key for plan in plans]
        self.groups = shared_first_steps(
            [Need(run, None if store.has_step(key) else key) for run, key in enumerate(keys)]
        )
        self.places: SimpleQueue[int | None] = SimpleQueue()
        for place in places:
            self.places.put(place)
        self.lock, self.stopping = Lock(), False
        self.alive: dict[str, LocalJob[None]] = {}

    def work(self) -> dict[str, str]:
        """Run everything; the names of the runs that failed, and why."""
        runs, failed = self.submission.runs, {}
        waiting = {run for group in self.groups for run in group}
        with ThreadPoolExecutor(self.size) as pool:
            pending: dict[Future[str | None], Sequence[int]] = {
                pool.submit(self._first_step, group): group for group in self.groups
            }
            pending |= {pool.submit(self._run, run): (run,) for run in range(len(runs)) if run not in waiting}
            try:
                while pending:
                    for future in wait(pending, return_when=FIRST_COMPLETED).done:
                        group, reason = pending.pop(future), future.result()
                        if reason is not None:
                            failed |= {runs[run].run: reason for run in group}
                        elif waiting & {*group}:
                            waiting -= {*group}
                            pending |= {pool.submit(self._run, run): (run,) for run in group}
            except BaseException:
                self.stop()
                pool.shutdown(cancel_futures=True)
                raise
        return failed

    def stop(self) -> None:
        """Tell all jobs to save a checkpoint and end; none starts after this."""
        with self.lock:
            self.stopping = True
            for job in self.alive.values():
                with suppress(ProcessLookupError):
                    os.kill(int(job.job_id), signal.SIGTERM)  # submitit passes it on to the job
        self.alive = {}

    def _first_step(self, group: Sequence[int]) -> str | None:
        label = f"the first step of {len(group)} runs, as {self.submission.runs[group[0]].label}"
        reason = self._carry_out(group[0], label, 0, dict.fromkeys(group, "first_job"))
        return reason and f"its first step failed: {reason}"

    def _run(self, run: int) -> str | None:
        return self._carry_out(run, self.submission.runs[run].label, None, {run: "job"})

    def _carry_out(self, run: int, label: str, last_step: int | None, fields: dict[int, str]) -> str | None:
        """Start a job at a free place and wait for its end; why it failed, or None. Its id goes to `fields`."""
        place = self.places.get()
        try:
            job = self._start(run, last_step, place, fields)
            if job is None:
                return "not started"
            self.tell(f"started   {label}" + (f" on GPU {place}" if place is not None else ""))
            job.wait()
            with self.lock:
                self.alive.pop(job.job_id, None)
            reason = _failure(job)
            if reason is None:
                self.tell(f"finished  {label}")
            else:
                self.tell(f"stopped   {label}" if self.stopping else f"failed    {label}: {reason}")
            return reason
        finally:
            self.places.put(place)

    def _start(
        self, run: int, last_step: int | None, place: int | None, fields: dict[int, str]
    ) -> LocalJob[None] | None:
        executor = LocalExecutor(jobs_dir(self.out, self.submission.name))
        executor.update_parameters(
            timeout_min=60 * 24 * 365, stderr_to_stdout=True, gpus_per_node=0 if place is None else 1,
            visible_gpus=() if place is None else (place,),
        )  # fmt: skip
        with self.lock:
            if self.stopping:
                return None
            with _without_ctrl_c():
                job = executor.submit(Job(self.submission.runs[run].experiment, self.request.settings, last_step))
            self.alive[job.job_id] = job
            runs = list(self.submission.runs)
            for position, field in fields.items():
                runs[position] = replace(runs[position], **{field: job.job_id})
            self.submission = replace(self.submission, runs=tuple(runs))
            save_submission(self.out, self.submission)
        return job


def _failure(job: LocalJob[None]) -> str | None:
    """Why a job that ended failed, as its log says; None if it did not."""
    if job.paths.result_pickle.is_file() and pickle.loads(job.paths.result_pickle.read_bytes())[0] == "success":
        return None
    lines = Path(job.paths.stdout).read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line.partition("failed: ")[2] for line in lines if "failed: " in line]
    return f"{(told or [line for line in lines if line.strip()] or ['killed'])[-1]} ({job.paths.stdout})"


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that are started in here do not hear Ctrl-C: they are told to end once, and not twice."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    old = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
