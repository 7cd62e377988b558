"""Run stores with submissions, written by hand."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from issbench.bench.engine.progress import Position
from issbench.slurm.submissions import (
    Executor,
    Submission,
    SubmittedRun,
    jobs_dir,
    load_submissions,
    save_submission,
)

STEPS = ("a" * 24, "b" * 24)


def submitted(run: str, job: str | None, first_job: str | None = None, method: str = "ft") -> SubmittedRun:
    """A run of two steps with its jobs."""
    experiment = {"method": method, "scenario": "voc_15-1", "setting": "overlapped", "order": "A", "seed": 0}
    label = f"{method} voc_15-1 overlapped A seed 0"
    return SubmittedRun(run, label, experiment, STEPS, ("evaluation-1",) * 2, first_job, job)


def submission(
    out: Path, *runs: SubmittedRun, name: str = "sweep-1", executor: Executor = "slurm", created: float = 1.0
) -> Submission:
    """A submission in a run store, with a folder for the logs of its jobs."""
    made = Submission(
        name, created, executor, ("bench", "sweep", "--table", "II"), str(out), {}, {}, runs=tuple(runs)
    )
    save_submission(out, made)
    jobs_dir(out, name).mkdir(parents=True, exist_ok=True)
    (out / "runs").mkdir(exist_ok=True)
    return made


def cancel_everything(out: Path) -> None:
    """End all jobs that were submitted from a run store."""
    runs = [run for each in load_submissions(out) for run in each.runs]
    arrays = {job.partition("_")[0] for run in runs for job in (run.first_job, run.job) if job}
    if arrays:
        subprocess.run(["scancel", *arrays], check=False)


def finish(out: Path, run: str, keys: tuple[str, ...] = STEPS, complete: bool = True) -> None:
    """The record that the engine leaves of a run, as far as it matters for its state."""
    experiment = submitted(run, None).experiment
    record = {
        "format": 2, "experiment": experiment, "complete": complete,
        "steps": [{"step": index, "key": key, "iou": [1.0]} for index, key in enumerate(keys)],
    }  # fmt: skip
    folder = out / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(record, indent=1))


def train(out: Path, run: str, ago: float = 0.0) -> None:
    """What a training that is at step 1 left some seconds ago."""
    folder = out / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    position = Position(1, 5, 120, 300, 12, 30, 90.0, time.time() - ago)
    (folder / "progress.json").write_text(json.dumps(asdict(position)))
