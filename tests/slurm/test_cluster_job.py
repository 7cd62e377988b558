"""What a job of Slurm does when it is interrupted: it is requeued, unless that leads nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from issbench.bench.launching.profile import Settings
from issbench.bench.launching.submissions import jobs_dir, outcome_path
from issbench.bench.outcome import read_outcome
from issbench.files import sha256_of
from issbench.slurm import cluster_job
from issbench.slurm.arrays import Task
from issbench.slurm.job import Job
from issbench.slurm.requeues import progress

STEPS = (("aa", "evaluation-1"), ("bb", "evaluation-1"))
HOURS = 8 * 3600.0
Attempt = Callable[..., int]


def make_progress(out: Path, step: int, iteration: int) -> None:
    """What a store has of a run that is inside a step."""
    for key, evaluation in STEPS[:step]:
        (out / "steps" / key).mkdir(parents=True, exist_ok=True)
        (out / "steps" / key / f"{evaluation}.json").touch()
    (out / "steps").mkdir(parents=True, exist_ok=True)
    values = json.dumps({"iteration": iteration, "history": []}).encode()
    (out / "steps" / f"{STEPS[step][0]}.checkpoint").write_bytes(b"issbench checkpoint {}\n" + values + b"\n\0\0")


def test_progress_is_a_step_a_test_or_an_iteration(tmp_path):
    found = [progress(tmp_path, STEPS)]
    for step, iteration in ((0, 0), (0, 1), (1, 0), (1, 5)):
        make_progress(tmp_path, step, iteration)
        found.append(progress(tmp_path, STEPS))
    assert len({*found}) == 5 and sorted(found) == found
    (tmp_path / "steps" / "bb.checkpoint").write_bytes(b"cut off")
    (tmp_path / "steps" / "bb").mkdir()
    assert progress(tmp_path, STEPS) == (3, -1)


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """Lets job 7_0 run for some hours of 8 until it is interrupted; the exit code. Before that it comes as far as
    (step, iteration) says, if that is given."""
    slurm = FakeSlurm(tmp_path / "slurm")
    running = {"number": 7, "name": "bench", "count": 2, "state": "RUNNING"}
    (slurm.place / "jobs.json").write_text(json.dumps([running]))
    out, arrays = tmp_path / "out", tmp_path / "out" / "submissions" / "sweep-1" / "arrays"
    arrays.mkdir(parents=True, mode=0o700)
    tasks = arrays / "bench.json"
    tasks.write_text(json.dumps([asdict(Task(Job({}, Settings(str(out), "cpu", 0, 60.0, False)), STEPS, HOURS))]))
    for name, value in {"PATH": slurm.place / "bin", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(cluster_job.signal, "signal", lambda number, handler: None)

    def attempt(hours: float, reaches: Sequence[int] = ()) -> int:
        clock = iter((0.0, 3600 * hours))
        monkeypatch.setattr(cluster_job.time, "monotonic", lambda: next(clock))
        monkeypatch.setattr(Job, "run", lambda *_: (reaches and make_progress(out, *reaches)) or "interrupted")
        return cluster_job.main(tasks, sha256_of(tasks))

    attempt.slurm, attempt.outcome = slurm, outcome_path(jobs_dir(out, "sweep-1"), "7_0")
    return attempt


def requeues(attempt: Attempt) -> int:
    return attempt.slurm.calls.count("scontrol requeue 7_0")


def test_three_time_limits_without_progress_end_a_job_with_the_reason(attempt):
    assert [attempt(8), attempt(8), attempt(8)] == [130, 130, 1]
    assert requeues(attempt) == 2
    outcome = read_outcome(attempt.outcome)
    assert outcome.state == "failed" and "give a longer --time" in outcome.reason
    assert outcome.reason.startswith("3 time limits in a row, each announced after 480 minutes, were over before")


def test_any_number_of_time_limits_may_pass_while_a_job_comes_further(attempt):
    for iteration in range(5):
        assert [attempt(8), attempt(8), attempt(8, (0, iteration))] == [130] * 3
    assert requeues(attempt) == 15


def test_preemptions_are_not_counted(attempt):
    assert [attempt(1) for _ in range(6)] == [130] * 6
    assert [attempt(8), attempt(1), attempt(8), attempt(1), attempt(8)] == [130] * 4 + [1]


@pytest.mark.parametrize("state", ["CANCELLED by 1", "PENDING", "COMPLETED"])
def test_a_job_that_was_cancelled_or_requeued_by_slurm_does_not_requeue_itself(attempt, state):
    attempt.slurm.become(state)
    assert attempt(1) == 130 and not requeues(attempt)


@pytest.mark.parametrize("mood", ["absent", "disabled"])
def test_a_job_that_cannot_be_requeued_says_so(attempt, capsys, mood):
    attempt.slurm.set(scontrol=mood)
    assert attempt(8) == 130
    assert "it was not put into the queue again: " in (said := capsys.readouterr().out)
    assert "`bench retry` submits it" in said
