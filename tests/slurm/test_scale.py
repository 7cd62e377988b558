"""A sweep of two thousand runs: planned in seconds, submitted in a few calls, and light on the file system."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from issbench.bench.commands.app import app
from issbench.bench.engine.plan import make_plans
from issbench.bench.launching.submissions import load_submissions
from issbench.bench.sweep import Sweep

METHODS = ("ft", "joint", "ewc", "lwf", "lwf-mc", "ilt", "mib", "sdr", "plop", "rcil", "gsc")
SCENARIOS = ("voc_15-1", "voc_15-5", "voc_19-1", "voc_10-1", "voc_5-3", "voc_2-2")


@pytest.fixture(scope="session")
def many(voc_aug_root) -> Sweep:
    """1980 runs on VOC; its labels are read once, before anything is timed."""
    sweep = Sweep(
        methods=METHODS,
        scenarios=SCENARIOS,
        settings=("overlapped", "disjoint"),
        orders=tuple("ABCDE"),
        seeds=(0, 1, 2),
    )
    make_plans(sweep.experiments(data=voc_aug_root)[:1], torch.device("cpu"))
    return sweep


def test_two_thousand_runs_are_planned_in_about_ten_times_the_time_of_two_hundred(many, voc_aug_root):
    experiments = many.experiments(data=voc_aug_root)
    assert len(experiments) == 1980
    started = time.process_time()
    make_plans(experiments[::10], torch.device("cpu"))
    tenth, started = time.process_time() - started, time.process_time()
    plans = make_plans(experiments, torch.device("cpu"))
    assert time.process_time() - started <= 15 * tenth
    assert len({plan.steps[0].key for plan in plans}) == 2 * 150  # shared ones, and those of LwF-MC


@pytest.mark.slurm
def test_two_thousand_runs_are_submitted_in_few_calls(many, voc_aug_root, tmp_path, monkeypatch, ask):
    place = tmp_path / "bin"
    place.mkdir()
    (place / "sbatch").write_text(f'#!/bin/sh\necho >> {tmp_path}/calls\nexec {shutil.which("sbatch")} "$@"\n')
    (place / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10**12))  # nothing is trained here
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text("gpus = 0\nextra = { hold = true }\n")
    words = ["--methods", ",".join(METHODS), "--scenarios", ",".join(SCENARIOS), "--orders", "A,B,C,D,E"]
    words += ["--settings", "overlapped,disjoint", "--seeds", "0,1,2", "--data", str(voc_aug_root)]
    words += ["--set", "backbone=tiny", "--set", "weights=none", "--slurm-profile", "c.toml"]
    try:
        result = CliRunner().invoke(app, ["sweep", *words])
        assert result.exception is None, result.exception
        assert "submitted 1980 runs as sweep-1" in result.output
        # First steps, two arrays of runs that need one, and one of LwF-MC's runs that share theirs with no other.
        assert len((tmp_path / "calls").read_text()) == 4
        (submission,) = load_submissions(tmp_path / "runs")
        jobs = {job for run in submission.runs for job in (run.first_job, run.job)} - {None}
        queued = ask("squeue", "--array", "--noheader", "--format=%i").split()
        assert jobs <= {*queued} and len(jobs) > 1980
    finally:
        subprocess.run(["scancel", f"--user={os.getuid()}"], check=False)
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert len(files) <= 20  # the tasks and the script of each array, and the record
    assert sum(path.stat().st_size for path in files) <= 6000 * 1980
