"""A sweep that is preempted, timed out and killed on the way ends with the bits of an undisturbed one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from issbench.bench.launching.submissions import SubmittedRun, load_submissions
from issbench.files import read_json
from issbench.slurm.queue import queue

SWEEP = [
    "sweep", "--methods", "ft,plop,gsc", "--scenario", "shapes_4-4", "--orders", "random:0",
    "--set", "first_epochs=1", "--set", "epochs=3", "--set", "crop=32", "--set", "aspp_channels=16",
    "--set", "batch=32", "--workers", "0", "--device", "cpu", "--checkpoint-every", "1",
]  # fmt: skip
PROFILE = """
partition = "normal"
gpus = 0
nodes = 2
cpus = 4  # all of a node, so that one job runs at a time
time = "5m"
grace = 20
setup = ["export OMP_NUM_THREADS=1"]
"""


def bench(*arguments: str, processes: int | None = None) -> str:
    """What a command of ours prints; it must succeed."""
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes else []
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "issbench", *arguments],
        capture_output=True, text=True, timeout=3600, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs(out: Path) -> dict[str, SubmittedRun]:
    """The run of each job that was handed over."""
    runs = [run for submission in load_submissions(out) for run in submission.runs]
    return {run.first_job: run for run in runs if run.first_job} | {run.job: run for run in runs if run.job}


def results(out: Path) -> dict[str, list[tuple[object, bytes]]]:
    """Loss terms, counts and the very bytes of the weights of each run's steps."""
    found = {}
    for path in (out / "runs").glob("*/run.json"):
        record = read_json(path)
        assert record["complete"], path
        found[path.parent.name] = [
            (
                (step["training"]["history"], step["counts"]),
                (out / "steps" / step["key"] / "weights.safetensors").read_bytes(),
            )
            for step in record["steps"]
        ]
    return found


def processes_of(out: Path) -> list[int]:
    """The processes of the job that runs for a store."""
    found = subprocess.run(
        ["pgrep", "-f", f"^[^ ]*python.*-m issbench.slurm.cluster_job {out}/"], capture_output=True, text=True
    )
    return [int(line) for line in found.stdout.split()]


def is_stopped(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.is_file() and status.read_text().rpartition(") ")[2].startswith("T")


class Disturbance:
    """What befalls the runs: each thing once, on a run of its own that is inside its second step."""

    def __init__(self, out: Path, ask: Callable[..., str]):
        self.out, self.ask = out, ask
        self.left = [self._preempt, self._time_out, self._kill]
        self.hit: dict[str, str] = {}

    def look(self, job: str, run: SubmittedRun) -> None:
        """Disturb a running job, if it is time to."""
        if (
            self.left
            and run.run not in self.hit
            and (self.out / "steps" / f"{run.steps[1][0]}.checkpoint").exists()
        ):
            what = self.left.pop(0)
            what(job)
            self.hit[run.run] = what.__name__

    def _preempt(self, job: str) -> None:
        self.ask(
            "sbatch", "--partition=high", "--nodes=2", "--cpus-per-task=4", "--wrap=sleep 1", "--output=/dev/null"
        )

    def _time_out(self, job: str) -> None:
        """Slurm looks for jobs near their limits twice a minute, so this one stands still until Slurm wakes it; its
        limit is far enough for one look, so that it is announced."""
        pids = processes_of(self.out)
        assert len(pids) == 2
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        minutes, seconds = self.ask("squeue", "--noheader", f"--jobs={job}", "--format=%M").split(":")
        self.ask("scontrol", "update", f"JobId={job}", f"TimeLimit={int(minutes) + 1 + (int(seconds) > 15)}")
        deadline = time.monotonic() + 300
        while any(is_stopped(pid) for pid in pids):
            assert time.monotonic() < deadline, "Slurm sent no signal"
            time.sleep(0.1)

    def _kill(self, job: str) -> None:
        self.ask("scancel", "--signal=KILL", job)


def watch(out: Path, disturbance: Disturbance, seconds: float = 3600) -> None:
    """Until no job of ours waits or runs."""
    deadline = time.monotonic() + seconds
    known = jobs(out)
    while waiting := queue(known):
        assert time.monotonic() < deadline, waiting
        for job in waiting.values():
            if job.state == "RUNNING":
                disturbance.look(job.job, known[job.job])
        time.sleep(0.1)


@pytest.mark.slurm
def test_a_disturbed_sweep_on_two_nodes_equals_an_undisturbed_one(tmp_path: Path, ask: Callable[..., str]) -> None:
    alone, out, profile = tmp_path / "alone", tmp_path / "runs", tmp_path / "cluster.toml"
    profile.write_text(PROFILE)
    bench(*SWEEP, "--out", str(alone), processes=2)
    said = bench(*SWEEP, "--out", str(out), "--slurm-profile", str(profile))
    assert "submitted 3 runs as sweep-1: 4 jobs" in said
    assert "3 runs are queued already" in bench(*SWEEP, "--out", str(out), "--slurm-profile", str(profile))
    disturbance = Disturbance(out, ask)
    watch(out, disturbance)
    assert [*disturbance.hit.values()] == ["_preempt", "_time_out", "_kill"]
    killed = next(run for run, what in disturbance.hit.items() if what == "_kill")
    assert "1 stopped" in (status := bench("status", "--out", str(out))), status
    bench("retry", "--out", str(out))
    watch(out, disturbance)
    for run in disturbance.hit:
        log = (out / "runs" / run / "log.txt").read_text()
        assert "resuming at iteration" in log, f"{run} started its step anew\n{log}"
    assert load_submissions(out)[-1].runs[0].run == killed
    assert results(out) == results(alone)
    tables = [bench("table", "--format", "csv", "--out", str(store)) for store in (out, alone)]
    assert tables[0] == tables[1]
    steps = {key for path in (out / "runs").glob("*/run.json") for key in _keys(path)}
    assert len(steps) == 4, "a first step and three more"
    assert all(read_json(out / "steps" / key / "training.json")["processes"] == 2 for key in steps)


def _keys(path: Path) -> list[str]:
    return [step["key"] for step in json.loads(path.read_text())["steps"]]
