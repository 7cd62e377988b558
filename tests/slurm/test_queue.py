"""What squeue, sacct and sbatch print is understood, also where a test cluster cannot be made to print it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from submissions import finish, submission, submitted, train

from issbench.bench.launching.status import statuses
from issbench.bench.launching.submissions import jobs_dir, outcome_path
from issbench.bench.outcome import State, write_outcome
from issbench.slurm import ask
from issbench.slurm.queue import ended, max_array_size, queue

SlurmSays = Callable[..., Path]


@pytest.fixture
def slurm_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmSays:
    """Put in the place of Slurm's commands programs that print these lines, and note how they were called."""

    def say(fails: str = "", **prints: str) -> Path:
        programs = tmp_path / "programs"
        programs.mkdir(exist_ok=True)
        for name, text in ({"squeue": "", "sacct": ""} | prints).items():
            (programs / f"{name}.txt").write_text(text)
            path = programs / name
            end = (
                f"cat {programs}/{name}.txt\nexit 0" if name != fails else f"cat {programs}/{name}.txt >&2\nexit 1"
            )
            path.write_text(f'#!/bin/sh\necho "$0 $@" >> {programs}/calls\n{end}\n')
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        return programs / "calls"

    return say


def state_of(out: Path, run: str = "r") -> tuple[str, str]:
    status = next(each for each in statuses(out) if each.run == run)
    return status.state, status.detail


def leave(out: Path, job: str, state: State, reason: str = "") -> None:
    """What a job leaves."""
    write_outcome(outcome_path(jobs_dir(out, "sweep-1"), job), state, reason)


def test_jobs_of_arrays_and_single_ones_are_asked_for_in_one_call(slurm_says):
    greeting = "Welcome to job 7 of the day | enjoy\n"
    calls = slurm_says(
        squeue=f"{greeting}7_1|PENDING|N/A|Priority\n7_2|RUNNING|2026-01-01T10:00:00|None\n8|RUNNING|N/A|None\n"
    )
    assert queue(["7_1", "7_3", "8"]).keys() == {"7_1", "8"}
    assert len(calls.read_text().splitlines()) == 1
    assert "--jobs=7,8 " in calls.read_text()


def test_accounts_of_arrays_and_single_jobs(slurm_says):
    slurm_says(sacct="hello\n7_1|FAILED|3:0\n7_[2-9,12%4]|CANCELLED|0:0\n8|CANCELLED by 1|0:15\n9_1|FAILED|1:0\n")
    found = ended(["7_1", "7_2", "7_9", "7_10", "7_12", "8"])
    assert found.keys() == {"7_1", "7_2", "7_9", "7_12", "8"}
    assert (found["7_1"].exit_code, found["8"].state, found["8"].signal) == (3, "CANCELLED", 15)
    assert {found[job].state for job in ("7_2", "7_9", "7_12")} == {"CANCELLED"}


@pytest.mark.parametrize(
    ("line", "size"), [("MaxArraySize            = 1001", 1001), ("MaxArraySize = 0", 1), ("", 1001)]
)
def test_the_size_of_arrays(slurm_says, line, size):
    slurm_says(scontrol=f"Configuration data\n{line}\n")
    assert max_array_size() == size


@pytest.mark.parametrize(
    ("printed", "number"),
    [
        ("Submitted batch job 101\n", "101"),
        ("Submitted batch job 101 on cluster alpha2\n", "101"),
        ("Welcome to job 7 of the day\n--> Verifying ... OK\nSubmitted batch job 101\n", "101"),
        ("101\n", "101"),
        ("101;alpha2\n", "101"),
        ("Submitted batch job 101\nHave a nice day\n", "101"),
        ("7 jobs of yours wait\n", None),
        ("101\nHave a nice day\n", None),
        ("Submitted batch job 101\nSubmitted batch job 102\n", None),
        ("0\n", None),
        ("-5\n", None),
        ("", None),
    ],
)
def test_the_number_of_a_submitted_job(printed, number):
    from issbench.slurm.sbatch import job_number

    assert job_number(printed) == number


@pytest.mark.parametrize(
    ("sacct", "state", "detail"),
    [
        ("FAILED|1:0", "failed", "FAILED with exit code 1"),
        ("FAILED|0:9", "failed", "FAILED by signal 9"),
        ("TIMEOUT|0:0", "failed", "TIMEOUT; it was not requeued"),
        ("OUT_OF_MEMORY|0:125", "failed", "OUT_OF_MEMORY; ask for more with --mem, or more --gpus"),
        ("PREEMPTED|0:0", "failed", "PREEMPTED"),
        ("CANCELLED by 1000|0:0", "stopped", "CANCELLED"),
        ("COMPLETED|0:0", "failed", "COMPLETED; but the run is not complete"),
        ("REQUEUED|0:0", "queued", "about to start"),
    ],
)
def test_a_job_that_left_no_reason_ended_as_slurm_says(slurm_says, tmp_path, sacct, state, detail):
    slurm_says(sacct=f"7_1|{sacct}\n")
    submission(tmp_path, submitted("r", "7_1"))
    assert state_of(tmp_path) == (state, detail)
    leave(tmp_path, "7_1", "running")  # as a job that is killed leaves it
    assert state_of(tmp_path) == (state, detail)


@pytest.mark.parametrize(
    ("squeue", "state", "detail"),
    [
        ("PENDING|N/A|Resources", "queued", "Resources"),
        ("PENDING|2026-01-01T10:00:00|BeginTime", "queued", "BeginTime; starts again at 2026-01-01 10:00:00"),
        ("PENDING|N/A|ReqNodeNotAvail, Unavailable:n1", "queued", "ReqNodeNotAvail, Unavailable:n1"),
        ("REQUEUE_HOLD|N/A|JobHeldAdmin", "queued", "JobHeldAdmin; `scontrol release 7_1` lets it go"),
        ("CONFIGURING|2026-01-01T10:00:00|None", "running", ""),
        ("COMPLETING|2026-01-01T10:00:00|None", "running", ""),
        ("SUSPENDED|2026-01-01T10:00:00|None", "running", ""),
    ],
)
def test_what_a_job_in_the_queue_does(slurm_says, tmp_path, squeue, state, detail):
    slurm_says(squeue=f"7_1|{squeue}\n")
    submission(tmp_path, submitted("r", "7_1"))
    assert state_of(tmp_path) == (state, detail)
    leave(tmp_path, "7_1", "interrupted")  # before it was requeued
    assert state_of(tmp_path) == (state, detail)


def test_a_job_that_gave_its_reason_is_believed(slurm_says, tmp_path):
    slurm_says(sacct="7_1|FAILED|1:0\n7_2|FAILED|1:0\n7_3|FAILED|0:15\n")
    submission(tmp_path, *(submitted(run, f"7_{number}") for number, run in enumerate("rst", 1)))
    leave(tmp_path, "7_1", "failed", "the loss became nan")
    leave(tmp_path, "7_3", "interrupted")
    assert state_of(tmp_path) == ("failed", "the loss became nan")
    assert state_of(tmp_path, "s") == ("failed", "FAILED with exit code 1")
    assert state_of(tmp_path, "t") == ("stopped", "interrupted; the same command resumes it")
    assert [each.explained for each in statuses(tmp_path)] == [True, False, True]


def test_a_run_that_waits_for_its_first_step_says_what_that_does(slurm_says, tmp_path):
    waits = "7_1|PENDING|N/A|Dependency\n"
    submission(tmp_path, submitted("r", "7_1", "5_0"), submitted("s", "7_2", "5_0"))
    train(tmp_path, "r")
    slurm_says(squeue=f"{waits}5_0|RUNNING|N/A|None\n7_2|PENDING|N/A|Dependency\n")
    assert state_of(tmp_path) == ("queued", "its first step is running (job 5_0)")
    assert [each.position.iteration for each in statuses(tmp_path)] == [120, 120]  # of the run that trains it
    slurm_says(squeue=f"{waits}5_0|PENDING|N/A|Resources\n")
    assert state_of(tmp_path)[1] == "waits for its first step (job 5_0): Resources"
    slurm_says(squeue=waits, sacct="5_0|COMPLETED|0:0\n")
    assert state_of(tmp_path)[1] == "Dependency"


def test_a_cluster_without_accounts_still_has_states(slurm_says, tmp_path):
    slurm_says(sacct="Slurm accounting storage is disabled", fails="sacct")
    submission(tmp_path, submitted("r", "7_1"))
    why = "how it ended is not known: sacct failed: Slurm accounting storage is disabled"
    assert state_of(tmp_path) == ("failed", f"its job has left the queue; {why}")


def test_where_the_queue_does_not_answer_only_what_runs_left_is_known(slurm_says, tmp_path, monkeypatch):
    monkeypatch.setattr(ask, "PAUSES", (0.0,))
    words = "slurm_load_jobs error: Unable to contact slurm controller"
    slurm_says(squeue=words, fails="squeue")
    runs = [
        submitted(run, f"7_{number}") for number, run in enumerate(("failed", "interrupted", "trains", "waits"))
    ]
    submission(tmp_path, *runs)
    leave(tmp_path, "7_0", "failed", "the loss became nan")
    leave(tmp_path, "7_1", "interrupted")  # it may have been requeued
    leave(tmp_path, "7_2", "running")
    train(tmp_path, "trains")
    unknown = ("unknown", f"squeue failed: {words}")
    assert {each.run: (each.state, each.detail) for each in statuses(tmp_path)} == {
        "failed": ("failed", "the loss became nan"), "interrupted": unknown, "trains": ("running", ""),
        "waits": unknown,
    }  # fmt: skip


def test_a_machine_without_slurm_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    submission(tmp_path, submitted("r", "7_1"))
    state, why = state_of(tmp_path)
    assert state == "unknown" and "this machine has no squeue; run this on a login node" in why
    finish(tmp_path, "r")
    assert state_of(tmp_path) == ("done", "")  # nobody need be asked


def test_a_run_is_done_only_if_it_is_complete_and_made_of_the_steps_that_were_asked_for(slurm_says, tmp_path):
    slurm_says(squeue="7_1|RUNNING|N/A|None\n")
    submission(tmp_path, submitted("r", "7_1"))
    finish(tmp_path, "r", complete=False)
    assert state_of(tmp_path)[0] == "running"
    finish(
        tmp_path, "r", (("a" * 24, "evaluation-1"), ("c" * 24, "evaluation-1"))
    )  # of another version of its method
    assert state_of(tmp_path)[0] == "running"
    finish(tmp_path, "r", (("a" * 24, "evaluation-1"), ("b" * 24, "evaluation-2")))  # tested on other labels
    assert state_of(tmp_path)[0] == "running"
    record = finish(tmp_path, "r")
    assert state_of(tmp_path)[0] == "done"
    record.write_text(record.read_text().replace('"complete": true', '"complete":  true'))
    assert state_of(tmp_path)[0] == "running"


def test_the_last_submission_counts(slurm_says, tmp_path):
    slurm_says(squeue="9_0|RUNNING|N/A|None\n", sacct="7_1|FAILED|1:0\n")
    submission(tmp_path, submitted("r", "7_1"), submitted("other", "7_1"))
    submission(tmp_path, submitted("r", "9_0"), name="retry-2", created=2.0)
    assert {each.run: (each.state, each.submission) for each in statuses(tmp_path)} == {
        "r": ("running", "retry-2"),
        "other": ("failed", "sweep-1"),
    }
    assert [each.run for each in statuses(tmp_path, sweep="retry-2")] == ["r"]


def test_runs_that_were_carried_out_without_a_job(slurm_says, tmp_path):
    calls = slurm_says()
    for run in ("done", "imported", "outdone"):
        finish(tmp_path, run)
    for run, ago in {"running": 0, "killed": 3600, "failed": 0, "interrupted": 0, "outdone": 3600}.items():
        train(tmp_path, run, ago)
    kept: dict[str, State] = {
        "done": "done", "running": "running", "killed": "running", "outdone": "running",
        "interrupted": "interrupted",
    }  # fmt: skip
    for run, state in kept.items():
        write_outcome(tmp_path / "runs" / run / "outcome.json", state)
    write_outcome(tmp_path / "runs" / "failed" / "outcome.json", "failed", "the loss became nan")
    assert {each.run: (each.state, each.detail) for each in statuses(tmp_path)} == {
        "done": ("done", ""),
        "imported": ("done", ""),
        "running": ("running", ""),
        "failed": ("failed", "the loss became nan"),
        "interrupted": ("stopped", "interrupted; the same command resumes it"),
        "killed": ("stopped", "not complete; the same command resumes it"),
        "outdone": ("stopped", "not complete; the same command resumes it"),
    }
    assert not calls.exists()
