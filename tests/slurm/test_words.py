"""What squeue and sacct say is read and told right, also where a test cluster cannot be made to say it."""

from pathlib import Path

import pytest
from submissions import finish, submission, submitted, train

from issbench.errors import RunError
from issbench.slurm.queue import ended, queue
from issbench.slurm.status import statuses


@pytest.fixture
def slurm_says(tmp_path, monkeypatch):
    """Put in the place of squeue and sacct programs that print these lines, and note how they were called."""

    def say(squeue: str = "", sacct: str = "", sacct_fails: bool = False) -> Path:
        programs = tmp_path / "programs"
        programs.mkdir(exist_ok=True)
        for name, text in {"squeue": squeue, "sacct": sacct}.items():
            (programs / f"{name}.txt").write_text(text)
            fails = int(sacct_fails and name == "sacct")
            path = programs / name
            path.write_text(
                f'#!/bin/sh\necho "$0 $@" >> {programs}/calls\ncat {programs}/{name}.txt\nexit {fails}\n'
            )
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        return programs / "calls"

    return say


def state_of(out: Path, run: str = "r") -> tuple[str, str]:
    status = next(each for each in statuses(out) if each.run == run)
    return status.state, status.detail


def test_jobs_of_arrays_and_single_ones_are_asked_for_in_one_call(slurm_says):
    calls = slurm_says(
        "7_1|PENDING|Priority||N/A|0:00\n7_2|RUNNING|None|n1|2026-01-01T10:00:00|1:00\n8|RUNNING|None|n2|N/A|0:01\n"
    )
    assert queue(["7_1", "7_3", "8"]).keys() == {"7_1", "8"}
    assert len(calls.read_text().splitlines()) == 1
    assert "--jobs=7,8 " in calls.read_text()


def test_accounts_of_arrays_and_single_jobs(slurm_says):
    slurm_says(sacct="7_1|FAILED|3:0\n7_[2-9%4]|PENDING|0:0\n8|CANCELLED by 1000|0:15\n9_1|FAILED|1:0\n")
    found = ended(["7_1", "7_2", "8"])
    assert found.keys() == {"7_1", "8"}
    assert (found["7_1"].exit_code, found["8"].state, found["8"].signal) == (3, "CANCELLED", 15)


@pytest.mark.parametrize(
    ("sacct", "state", "detail"),
    [
        ("FAILED|1:0", "failed", "failed with exit code 1"),
        ("FAILED|0:9", "failed", "killed by signal 9 (KILL)"),
        ("TIMEOUT|0:0", "failed", "reached its time limit and was not requeued"),
        ("OUT_OF_MEMORY|0:125", "failed", "ran out of memory; ask for more with --mem"),
        ("NODE_FAIL|0:0", "failed", "its node failed, and it was not requeued"),
        ("PREEMPTED|0:0", "failed", "preempted and not requeued"),
        ("CANCELLED by 1000|0:0", "stopped", "cancelled"),
        ("COMPLETED|0:0", "failed", "its job ended well, but the run is not complete"),
        ("REQUEUED|0:0", "queued", "about to start"),
    ],
)
def test_how_a_job_ended(slurm_says, tmp_path, sacct, state, detail):
    slurm_says(sacct=f"7_1|{sacct}\n")
    submission(tmp_path, submitted("r", "7_1"))
    assert state_of(tmp_path) == (state, detail)


@pytest.mark.parametrize(
    ("squeue", "state", "detail"),
    [
        ("PENDING|Resources||N/A|0:00", "queued", "waits for free nodes"),
        ("PENDING|BeginTime||2026-01-01T10:00:00|0:00", "queued", "starts again at 2026-01-01 10:00:00"),
        ("PENDING|ReqNodeNotAvail, Unavailable:n1||N/A|0:00", "queued", "a node that it needs is not available"),
        (
            "PENDING|QOSMaxJobsPerUserLimit||N/A|0:00",
            "queued",
            "a limit of your account or quality of service is reached (QOSMaxJobsPerUserLimit)",
        ),
        ("PENDING|SomethingNew||N/A|0:00", "queued", "SomethingNew"),
        ("REQUEUE_HOLD|JobHeldAdmin||N/A|0:00", "queued", "held by an administrator"),
        ("CONFIGURING|None|n1|2026-01-01T10:00:00|0:00", "running", ""),
        ("COMPLETING|None|n1|2026-01-01T10:00:00|0:00", "running", ""),
        ("SUSPENDED|None|n1|2026-01-01T10:00:00|0:00", "running", ""),
        ("PENDING|DependencyNeverSatisfied||N/A|0:00", "failed", "a job that it waits for failed"),
    ],
)  # fmt: skip
def test_what_a_job_in_the_queue_does(slurm_says, tmp_path, squeue, state, detail):
    slurm_says(squeue=f"7_1|{squeue}\n")
    submission(tmp_path, submitted("r", "7_1"))
    assert state_of(tmp_path) == (state, detail)


@pytest.mark.parametrize("own", ["7_1|PENDING|DependencyNeverSatisfied||N/A|0:00", ""])
@pytest.mark.parametrize(
    ("first", "state", "detail"),
    [
        ("OUT_OF_MEMORY|0:125", "failed", "its first step failed: ran out of memory; ask for more with --mem"),
        ("CANCELLED by 0|0:0", "stopped", "its first step was cancelled"),
    ],
)
def test_a_run_whose_first_step_came_to_nothing(slurm_says, tmp_path, own, first, state, detail):
    slurm_says(squeue=own, sacct=f"5_0|{first}\n7_1|CANCELLED by 0|0:0\n")
    submission(tmp_path, submitted("r", "7_1", "5_0"))
    assert state_of(tmp_path) == (state, detail)
    assert statuses(tmp_path)[0].job == "5_0"


def test_a_run_that_waits_for_its_first_step_says_what_that_does(slurm_says, tmp_path):
    waits = "7_1|PENDING|Dependency||N/A|0:00\n"
    submission(tmp_path, submitted("r", "7_1", "5_0"))
    slurm_says(squeue=f"{waits}5_0|RUNNING|None|n1|N/A|0:10\n")
    assert state_of(tmp_path) == ("queued", "its first step is running (job 5_0)")
    slurm_says(squeue=f"{waits}5_0|PENDING|Resources||N/A|0:00\n")
    assert state_of(tmp_path)[1] == "waits for its first step (job 5_0), which is queued: waits for free nodes"
    slurm_says(squeue=waits, sacct="5_0|COMPLETED|0:0\n")
    assert state_of(tmp_path)[1] == "waits for another job"


def test_a_cluster_without_accounts_still_has_states(slurm_says, tmp_path):
    slurm_says(sacct="Slurm accounting storage is disabled", sacct_fails=True)
    submission(tmp_path, submitted("r", "7_1"))
    assert state_of(tmp_path) == ("failed", "its job has ended; Slurm's accounting does not say how")


def test_a_machine_without_slurm_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    submission(tmp_path, submitted("r", "7_1"))
    with pytest.raises(RunError, match="no squeue"):
        statuses(tmp_path)
    finish(tmp_path, "r")
    assert state_of(tmp_path) == ("done", "")  # nobody need be asked


def test_a_run_is_done_only_if_it_is_complete_and_made_of_the_steps_that_were_asked_for(slurm_says, tmp_path):
    slurm_says(squeue="7_1|RUNNING|None|n1|N/A|0:10\n")
    submission(tmp_path, submitted("r", "7_1"))
    finish(tmp_path, "r", complete=False)
    assert state_of(tmp_path)[0] == "running"
    finish(tmp_path, "r", keys=("a" * 24, "c" * 24))  # of another version of its method
    assert state_of(tmp_path)[0] == "running"
    finish(tmp_path, "r")
    assert state_of(tmp_path)[0] == "done"
    (tmp_path / "runs" / "r" / "run.json").write_text("{")
    assert state_of(tmp_path)[0] == "running"


def test_the_last_submission_counts(slurm_says, tmp_path):
    slurm_says(squeue="9_0|RUNNING|None|n1|N/A|0:10\n", sacct="7_1|FAILED|1:0\n")
    submission(tmp_path, submitted("r", "7_1"), submitted("other", "7_1"))
    submission(tmp_path, submitted("r", "9_0"), name="retry-2", created=2.0)
    assert {each.run: (each.state, each.submission) for each in statuses(tmp_path)} == {
        "r": ("running", "retry-2"),
        "other": ("failed", "sweep-1"),
    }
    assert [each.run for each in statuses(tmp_path, sweep="retry-2")] == ["r"]


def test_runs_that_were_started_by_hand(slurm_says, tmp_path):
    calls = slurm_says()
    finish(tmp_path, "done")
    train(tmp_path, "running")
    train(tmp_path, "killed", ago=3600)
    assert {each.run: each.state for each in statuses(tmp_path)} == {
        "done": "done", "running": "running", "killed": "stopped",
    }  # fmt: skip
    assert not calls.exists()
