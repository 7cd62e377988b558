"""Run stores with submissions, written by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from made_records import one_record

from issbench.bench.launching.submissions import (
    Submission,
    SubmittedRun,
    jobs_dir,
    load_submissions,
    save_submission,
    submission_dir,
)
from issbench.bench.position import Position
from issbench.files import write_sealed

STEPS = (("a" * 24, "evaluation-1"), ("b" * 24, "evaluation-1"))


def submitted(run: str, job: str | None, first_job: str | None = None, method: str = "ft") -> SubmittedRun:
    """A run of two steps with its jobs."""
    experiment = {
        "method": method, "scenario": "voc_15-1", "setting": "overlapped", "order": "A", "seed": 0, "metrics": [],
    }  # fmt: skip
    return SubmittedRun(run, f"{method} voc_15-1 overlapped A seed 0", experiment, STEPS, first_job, job)


def submission(
    out: Path, *runs: SubmittedRun, name: str = "sweep-1", launcher: str = "slurm", created: float = 1.0
) -> Submission:
    """A submission in a run store, made long ago, with a folder for what its jobs leave."""
    command = ("bench", "sweep", "--table", "II")
    made = Submission(name, created, launcher, command, str(out), {}, {}, runs=tuple(runs))
    jobs_dir(out, name).mkdir(parents=True, exist_ok=True)
    save_submission(out, made)
    os.utime(submission_dir(out, name) / "sweep.json", (created, created))
    (out / "runs").mkdir(exist_ok=True)
    return made


def cancel_everything(out: Path) -> None:
    """End all jobs that were submitted from a run store."""
    runs = [run for each in load_submissions(out) for run in each.runs]
    arrays = {job.partition("_")[0] for run in runs for job in (run.first_job, run.job) if job}
    if arrays:
        subprocess.run(["scancel", *arrays], check=False)


def finish(
    out: Path, run: str, steps: tuple[tuple[str, str], ...] = STEPS, complete: bool = True, numbers: int = 1
) -> Path:
    """The record that the engine leaves of a run of these steps, with a history of some `numbers`, and empty files
    for the counts of its tests."""
    record = one_record("ft", epochs=numbers, complete=complete)
    record["steps"] = record["steps"][: len(steps)]
    for step, (key, name) in zip(record["steps"], steps, strict=True):
        images = f"steps/{key}/{name}.npz"
        (out / images).parent.mkdir(parents=True, exist_ok=True)
        (out / images).touch()
        step["key"], step["evaluations"] = key, {"confusion": {"name": name, "images": images}}
    (out / "runs").mkdir(parents=True, exist_ok=True)
    write_sealed(out / "runs" / run / "run.json", record, run)
    return out / "runs" / run / "run.json"


def train(out: Path, run: str, ago: float = 0.0) -> None:
    """What a training that is at step 1 left some seconds ago."""
    folder = out / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    position = Position(1, 5, 120, 300, 12, 30, 90.0, time.time() - ago)
    (folder / "progress.json").write_text(json.dumps(asdict(position)))


def local_process(out: Path, job: str, name: str = "sweep-1") -> subprocess.Popen[bytes]:
    """A process that looks like that of a job of the launcher `local`, and sleeps."""
    command = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "issbench.slurm.local_jobs"]
    return subprocess.Popen([*command, str(submission_dir(out, name).resolve()), job], start_new_session=True)
