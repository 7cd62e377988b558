"""A queue and accounts that lag, are away, or say nothing: a job is submitted again only when it is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import bench, command
from fake_slurm import AWAY
from three_runs import assert_each_run_has_one_job, sweep

from issbench.bench.launching.submissions import jobs_dir, load_submissions, outcome_path
from issbench.bench.outcome import write_outcome
from issbench.slurm import unseen
from issbench.slurm.unseen import NOT_SHOWN


@pytest.fixture
def later(monkeypatch):
    """Call it to let ten minutes pass."""
    return lambda: monkeypatch.setattr(unseen, "LAG", 0.0)


@pytest.mark.parametrize(
    ("answer", "accounts"),
    [("plain", "late"), ("cluster", "late"), ("number", "late"), ("greeting", "late"), ("plain", "disabled")],
)
def test_jobs_that_slurm_does_not_show_yet_are_alive_for_a_while(slurm, later, answer, accounts):
    slurm.set(sbatch=answer, squeue="late", sacct=accounts)
    assert "submitted 3 runs as sweep-1: 4 jobs in 2 arrays" in sweep()
    assert {run.first_job for run in load_submissions(Path("runs"))[0].runs} == {"101"}
    assert sweep() == "3 runs are queued already\nnothing to submit"
    shown = bench("status")
    assert "3 runs: 3 queued" in shown and f"waits for its first step (job 101): {NOT_SHOWN}" in shown
    assert "no run to submit again" in bench("retry")
    assert_each_run_has_one_job(slurm)
    later()
    assert "3 runs: 3 failed" in bench("status")
    assert "submitted 3 runs as retry-2: 4 jobs in 2 arrays" in bench("retry")
    assert "submitted 3 runs as sweep-3: 4 jobs in 2 arrays" in sweep()


def test_a_larger_sweep_waits_for_a_first_step_that_slurm_does_not_show_yet(slurm):
    slurm.set(squeue="late", sacct="late", limit=1)
    sweep(1)
    slurm.set(squeue="late", sacct="late")
    assert "submitted 3 runs as sweep-2: 3 jobs in 1 arrays" in sweep()
    assert_each_run_has_one_job(slurm)


@pytest.mark.parametrize(
    ("outcome", "state"), [("running", "failed"), ("interrupted", "stopped"), ("failed", "failed")]
)
def test_a_job_that_left_an_outcome_and_is_nowhere_has_ended(slurm, outcome, state):
    slurm.set(squeue="late", sacct="late")
    sweep()
    for run in load_submissions(Path("runs"))[0].runs:
        for job in (run.first_job, run.job):
            write_outcome(outcome_path(jobs_dir(Path("runs"), "sweep-1"), job), outcome)
    assert f"3 runs: 3 {state}" in bench("status")
    assert "submitted 3 runs as retry-2" in bench("retry")


def test_the_time_of_a_submission_is_read_by_either_clock(slurm, monkeypatch):
    """The machine that submitted may have had a clock that is wrong by an hour."""
    slurm.set(squeue="late", sacct="late")
    with monkeypatch.context() as patch:
        patch.setattr("issbench.bench.launching.submissions.time.time", lambda: 1.0)
        sweep()
    assert load_submissions(Path("runs"))[0].created == 1.0
    assert "nothing to submit" in sweep()


def test_jobs_that_slurm_does_not_show_yet_can_be_cancelled(slurm):
    slurm.set(squeue="late", sacct="late", scancel="unknown")
    sweep()
    message = bench("cancel", "sweep-1", code=1)
    assert "Invalid job id specified" in message and "the same command again ends the rest" in message
    assert "3 runs: 3 queued" in bench("status")
    slurm.set(squeue="late", sacct="late")
    assert "cancelled 4 jobs of sweep-1" in bench("cancel", "sweep-1")
    assert {job["state"] for job in slurm.jobs} == {"CANCELLED by 1"}


def test_cancelled_jobs_are_known_where_no_accounts_are_kept(slurm):
    slurm.set(sacct="disabled")
    sweep()
    assert "cancelled 4 jobs of sweep-1" in bench("cancel", "sweep-1")
    assert "3 runs: 3 stopped" in bench("status")
    assert "submitted 3 runs as retry-2: 4 jobs in 2 arrays" in bench("retry")
    assert_each_run_has_one_job(slurm)


def test_after_a_time_out_sbatch_is_not_called_again_while_the_queue_lags(slurm):
    slurm.set(sbatch="timed-out", squeue="late", sacct="late")
    assert "Slurm did not say whether it took 1 jobs: Batch job submission failed: Socket timed out" in sweep(1)
    assert len([call for call in slurm.calls if call.startswith("sbatch")]) == 1
    slurm.set()
    sweep()
    assert_each_run_has_one_job(slurm)


@pytest.mark.parametrize(
    ("moods", "state", "detail"),
    [
        ({"squeue": "away"}, "unknown", f"squeue failed: {AWAY}"),
        ({"squeue": "hang"}, "unknown", "squeue gave no answer within 2 s"),
        ({"squeue": "absent"}, "unknown", "squeue"),
        ({"squeue": "away-twice"}, "queued", "about to start"),
        ({"sacct": "disabled"}, "queued", "about to start"),
        ({"scontrol": "absent", "sacct": "absent"}, "queued", "about to start"),
    ],
)
def test_while_jobs_wait_nothing_is_submitted_again_whatever_does_not_answer(
    slurm, impatient, moods, state, detail
):
    sweep()
    slurm.set(**moods)
    shown = command("status")
    assert f"3 runs: 3 {state}" in shown.stdout and detail in shown.stdout
    assert shown.returncode == (state == "unknown")
    code = int(state == "unknown")
    assert ("squeue" if code else "no run to submit again") in bench("retry", code=code)
    assert ("squeue" if code else "nothing to submit") in sweep(code)
    run = load_submissions(Path("runs"))[0].runs[0].run
    assert f"{run} has no log yet: {state}, " in bench("logs", run)
    assert len(slurm.jobs) == 2


@pytest.mark.parametrize(
    ("moods", "why"),
    [
        ({"sacct": "disabled"}, "how it ended is not known: sacct failed: Slurm accounting storage is disabled"),
        ({"sacct": "absent"}, "how it ended is not known: this machine"),
        ({"sacct": "hang"}, "how it ended is not known: sacct gave no answer within 2 s"),
        ({"sacct": "late"}, "Slurm's accounting does not say how (yet)"),
        ({}, "NODE_FAIL; it was not requeued"),
    ],
)
def test_jobs_that_have_left_the_queue_are_submitted_again_even_where_accounts_say_nothing(
    slurm, impatient, later, moods, why
):
    sweep()
    later()
    slurm.become("NODE_FAIL")
    slurm.set(**moods)
    assert why in bench("status")
    assert "submitted 3 runs as retry-2: 4 jobs in 2 arrays" in bench("retry")
    assert_each_run_has_one_job(slurm)


def test_a_job_that_only_accounting_believes_alive_is_not(slurm, later):
    sweep()
    slurm.become("RUNNING")
    (slurm.place / "bin" / "squeue").write_text("#!/bin/sh\n")
    assert "3 runs: 3 queued" in bench("status")
    later()
    assert "its job has left the queue; Slurm's accounting still has it as RUNNING" in bench("status")
