"""`--local`: the jobs of a sweep on this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from issbench.errors import UsageError
from issbench.slurm.local import gpus_here
from issbench.slurm.submissions import load_submissions

ROOT = Path(__file__).parents[2]
SMALL = ["--set", "epochs=1", "--set", "crop=32", "--set", "aspp_channels=16"]


def local_sweep(out: Path, methods: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", "sweep", "--methods", methods, "--scenario", "shapes_4-4", *SMALL]
    return subprocess.Popen(
        [*command, "--local", "--jobs", "2", "--out", str(out), *more],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_runs_follow_their_first_step_and_a_failure_stops_no_other(tmp_path):
    process = local_sweep(tmp_path, "ft,mib:distillation=1e39,lwf", "--set", "first_epochs=1")
    said, errors = process.communicate()
    assert process.returncode == 1
    lines = [line for line in said.splitlines() if line.startswith(("started", "finished", "failed"))]
    first = "the first step of 3 runs"
    assert first in lines[0] and lines[0].startswith("started") and lines[1].startswith(f"finished  {first}")
    assert sorted(line.split()[1] for line in lines[2:] if line.startswith("started")) == [
        "ft", "lwf", "mib:distillation=1e39",
    ]  # fmt: skip
    assert "FT" in said and "LwF" in said  # the table of those that came to their end
    assert "1 of 3 runs failed" in errors
    assert "mib:distillation=1e39 shapes_4-4 overlapped natural seed 0: the term" in errors
    assert "Traceback" not in errors
    (submission,) = load_submissions(tmp_path)
    assert submission.executor == "local"
    assert len({run.first_job for run in submission.runs}) == 1
    assert len({run.job for run in submission.runs} - {None, submission.runs[0].first_job}) == 3


def test_an_interrupted_job_leaves_a_checkpoint_and_the_same_command_resumes(tmp_path):
    more = ("--set", "first_epochs=4", "--checkpoint-every", "1000")
    process = local_sweep(tmp_path, "ft", *more)
    jobs = tmp_path / "submissions" / "sweep-1" / "jobs"
    deadline = time.monotonic() + 120
    while not any("epoch 1/4" in log.read_text() for log in jobs.glob("*.out")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C reaches everything that the terminal started
    said, errors = process.communicate()
    assert process.returncode == 130
    assert "interrupted; the same command resumes" in errors and "stopped   ft" in said
    assert len(list((tmp_path / "steps").glob("*.checkpoint"))) == 1
    again = local_sweep(tmp_path, "ft", *more)
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
