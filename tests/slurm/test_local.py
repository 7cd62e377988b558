"""`--local`: the jobs of a sweep on this machine."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_folder import RECIPE, small_folder
from typer.testing import CliRunner

from issbench.bench.commands.app import app
from issbench.bench.launching.cancel import cancel
from issbench.bench.launching.status import statuses
from issbench.bench.launching.submissions import load_submissions
from issbench.errors import RunError, UsageError
from issbench.results.runs import load_runs
from issbench.slurm.local import _living, gpus_here

SMALL = [f"{key}={value}" for key, value in RECIPE.items()]
LONG = ("--set", "first_epochs=40", "--checkpoint-every", "1000")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data"))


def local_sweep(data: Path, out: Path, methods: str, *more: str) -> subprocess.Popen[str]:
    given = {word.partition("=")[0] for word in more}  # an option may be given once
    small = [word for each in SMALL if each.partition("=")[0] not in given for word in ("--set", each)]
    command = [sys.executable, "-m", "issbench", "sweep", "--methods", methods, *small]
    where = ["--scenario", "folder_2-1", "--data", str(data), "--workers", "0", "--out", str(out)]
    return subprocess.Popen(
        [*command, *where, "--local", "--jobs", "2", *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_runs_follow_their_first_step_and_a_failure_stops_no_other(data, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    process = local_sweep(data, tmp_path, "ft,mib:distillation=1e+39,lwf", "--threads", "1")
    said, errors = process.communicate()
    assert process.returncode == 1
    lines = [line for line in said.splitlines() if line.startswith(("started", "finished", "failed"))]
    first = "the first step of 3 runs"
    assert first in lines[0] and lines[0].startswith("started") and lines[1].startswith(f"finished  {first}")
    assert sorted(line.split()[1] for line in lines[2:] if line.startswith("started")) == [
        "ft", "lwf", "mib:distillation=1e+39",
    ]  # fmt: skip
    assert "FT" in said and "LwF" in said  # the table of those that came to their end
    assert "1 of 3 runs failed" in errors
    assert "mib:distillation=1e+39 folder_2-1 overlapped natural seed 0: the term" in errors
    assert "Traceback" not in errors
    (submission,) = load_submissions(tmp_path)
    assert submission.launcher == "local"
    assert {run.first_job for run in submission.runs} == {"sweep-1.first0"}
    assert [run.job for run in submission.runs] == ["sweep-1.0", "sweep-1.1", "sweep-1.2"]
    assert sorted(each.state for each in statuses(tmp_path)) == ["done", "done", "failed"]
    assert {environment["threads"] for run in load_runs(tmp_path) for environment in run.environments} == {1}


def test_a_first_step_that_fails_ends_its_runs_and_retry_carries_them_out_again(data, tmp_path, monkeypatch):
    process = local_sweep(data, tmp_path / "runs", "ft,lwf", "--set", "first_epochs=8", "--set", "first_lr=1e30")
    said, errors = process.communicate()
    assert process.returncode == 1 and "2 of 2 runs failed" in errors
    assert said.count("started") == 1
    (submission,) = load_submissions(tmp_path / "runs")
    found = statuses(tmp_path / "runs")
    assert {each.state for each in found} == {"failed"}
    reason = "its first step failed: the term classification"
    assert [each.detail[: len(reason)] for each in found] == [reason] * 2
    monkeypatch.chdir(tmp_path)
    again = CliRunner().invoke(app, ["retry", submission.runs[0].run])
    assert isinstance(again.exception, RunError) and "1 of 1 runs failed" in str(again.exception)
    assert "the term classification of the first step became" in str(again.exception)
    retried = load_submissions(tmp_path / "runs")[1]
    assert (retried.name, retried.profile, retried.settings) == ("retry-2", submission.profile, submission.settings)
    assert [run.run for run in retried.runs] == [submission.runs[0].run]


def test_cancel_ends_a_sweep_and_retry_goes_on(data, tmp_path, wait_for, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = local_sweep(data, tmp_path / "runs", "ft,lwf", *LONG)
    jobs = tmp_path / "runs" / "submissions" / "sweep-1" / "jobs"
    wait_for(lambda: any("epoch 1/40" in log.read_text() for log in jobs.glob("*.out")))
    assert sorted(cancel(tmp_path / "runs", "sweep-1").jobs) == ["sweep-1.0", "sweep-1.1", "sweep-1.first0"]
    _, errors = process.communicate()
    assert process.returncode == 1 and "seed 0: interrupted" in errors
    assert {each.state for each in statuses(tmp_path / "runs")} == {"stopped"}
    again = CliRunner().invoke(app, ["retry"])
    assert again.exception is None, again.output
    assert {each.state for each in statuses(tmp_path / "runs")} == {"done"}
    log = tmp_path / "runs" / "submissions" / "retry-2" / "jobs" / "retry-2.first0_0_log.out"
    assert "resuming at iteration" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_sweep_that_is_asked_to_end_ends_and_reaps_its_jobs(data, tmp_path, wait_for, number):
    process = local_sweep(data, tmp_path, "ft", *LONG)
    jobs = tmp_path / "submissions" / "sweep-1" / "jobs"
    wait_for(lambda: any("epoch 1/40" in log.read_text() for log in jobs.glob("*.out")))
    process.send_signal(number)
    assert "interrupted; the same command resumes" in process.communicate()[1]
    assert process.returncode == 128 + number
    assert _living(tmp_path) == {}


def test_a_second_signal_ends_jobs_that_hang_at_once(data, tmp_path, wait_for):
    process = local_sweep(data, tmp_path, "ft", *LONG)
    jobs = tmp_path / "submissions" / "sweep-1" / "jobs"
    wait_for(lambda: any("epoch 1/40" in log.read_text() for log in jobs.glob("*.out")))
    (pid,) = _living(tmp_path).values()
    os.kill(pid, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130 and _living(tmp_path) == {}


def test_an_interrupted_job_leaves_a_checkpoint_and_the_same_command_resumes(data, tmp_path, wait_for):
    process = local_sweep(data, tmp_path, "ft", *LONG)
    jobs = tmp_path / "submissions" / "sweep-1" / "jobs"
    wait_for(lambda: any("epoch 1/40" in log.read_text() for log in jobs.glob("*.out")))
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C reaches everything that the terminal started
    said, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted; the same command resumes" in errors and "stopped   ft" in said
    assert len(list((tmp_path / "steps").glob("*.checkpoint"))) == 1
    assert [(each.state, each.detail) for each in statuses(tmp_path)] == [
        ("stopped", "interrupted; the same command resumes it")
    ]
    again = local_sweep(data, tmp_path, "ft", *LONG)
    assert again.communicate()[1] == "" and again.returncode == 0
    logs = "".join(log.read_text() for log in (tmp_path / "submissions" / "sweep-2" / "jobs").glob("*.out"))
    assert "resuming at iteration" in logs


def test_gpus_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus_here() == [0, 1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert gpus_here() == [3, 5]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1234")
    with pytest.raises(UsageError, match="by their numbers"):
        gpus_here()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpus_here() == []
