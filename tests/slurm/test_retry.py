"""`bench retry`: what is submitted again, and what is asked of the cluster."""

from __future__ import annotations

import pytest
from submissions import cancel_everything
from typer.testing import CliRunner

from issbench.bench.commands.app import app
from issbench.bench.launching.status import statuses
from issbench.bench.launching.submissions import load_submissions

PROFILE = 'gpus = 0\ntime = "10m"\ncpus = 1\n'
HELD = f"{PROFILE}extra = {{ hold = true }}\n"
WORDS = ["sweep", "--methods", "ft,mib", "--scenario", "shapes_4-4", "--slurm-profile", "cluster.toml"]


def bench(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster.toml").write_text(HELD)
    yield tmp_path
    cancel_everything(tmp_path / "runs")


def shape(ask, job: str) -> list[str]:
    """Name, time limit and cores of a job."""
    return ask("squeue", "--noheader", f"--jobs={job}", "--format=%j|%l|%C").splitlines()[0].split("|")


@pytest.mark.slurm
def test_cancelled_runs_are_submitted_as_before(folder, ask, wait_for):
    bench(*WORDS)
    (submission,) = load_submissions(folder / "runs")
    jobs = {run.job.partition("_")[0] for run in submission.runs} | {submission.runs[0].first_job}
    wait_for(lambda: "no run to submit again" in bench("retry"))
    ask("scancel", *jobs)
    wait_for(lambda: {each.state for each in statuses(folder / "runs")} == {"stopped"})
    assert "no run to submit again" in bench("retry", "--failed")  # they were cancelled, not failed
    said = bench("retry", submission.runs[0].run[-8:])
    assert "submitted 1 runs as retry-2: 1 jobs" in said
    (run,) = load_submissions(folder / "runs")[1].runs
    assert run.run == submission.runs[0].run and run.experiment == submission.runs[0].experiment
    name, *rest = shape(ask, run.job)
    assert name.startswith("bench-retry-2-") and rest == ["10:00", "1"]
    # The rest of the first submission; what is queued again is left alone.
    assert "submitted 1 runs as retry-3: 1 jobs" in bench("retry", "sweep-1")
    assert "no run to submit again" in bench("retry")


def test_where_nothing_was_submitted_there_is_nothing_to_retry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no run to submit again" in bench("retry")
