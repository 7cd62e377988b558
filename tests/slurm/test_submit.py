"""Submitting sweeps to a real Slurm: what is a job, what waits for what, and what is not submitted twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter

import pytest
from submissions import cancel_everything
from typer.testing import CliRunner

from issbench.bench.commands.app import app
from issbench.bench.experiment import experiment_of
from issbench.bench.launching.status import statuses
from issbench.bench.launching.submissions import load_submissions
from issbench.errors import RunError

PROFILE = 'gpus = 0\ntime = "10m"\n'
SMALL = ["--set", "first_epochs=1", "--set", "epochs=1", "--set", "crop=32", "--set", "aspp_channels=16"]


def sweep(methods: str, *more: str) -> str:
    """What `bench sweep` prints, in this process, which has torch already."""
    result = CliRunner().invoke(app, sweep_words(methods, *more))
    if result.exception is not None:
        raise result.exception
    return result.output


def sweep_words(methods: str, *more: str) -> list[str]:
    words = ["sweep", "--methods", methods, "--scenario", "shapes_4-4", *SMALL]
    return [*words, "--slurm-profile", "cluster.toml", *more]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where commands are given: with a profile for the test cluster, whose jobs are held and gone at the end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cluster.toml").write_text(f"{PROFILE}extra = {{ hold = true }}\n")
    yield tmp_path
    cancel_everything(tmp_path / "runs")


def refusal(methods: str, *more: str) -> str:
    with pytest.raises(RunError) as told:
        sweep(methods, *more)
    return str(told.value)


def dependencies(ask) -> dict[str, str]:
    """What each queued job waits for."""
    lines = ask("squeue", "--array", "--noheader", "--format=%i|%E").splitlines()
    return {job: waits.replace("(unfulfilled)", "") for job, _, waits in (line.partition("|") for line in lines)}


@pytest.mark.slurm
def test_shared_first_steps_are_jobs_and_nothing_is_submitted_twice(folder, ask):
    out = folder / "runs"
    described = sweep("ft,mib", "--orders", "natural,random:1", "--dry-run").splitlines()[-2:]
    assert described == ["array 0       2 first steps", "array 1       4 runs, after array 0"]
    assert not out.exists()
    said = sweep("ft,mib", "--orders", "natural,random:1")
    assert "submitted 4 runs as sweep-1: 6 jobs in 2 arrays; watch them with `bench status`" in said
    (first,) = load_submissions(out)
    by_step = {run.steps[0]: run.first_job for run in first.runs}
    assert Counter(run.first_job for run in first.runs) == dict.fromkeys(by_step.values(), 2)
    queued = dependencies(ask)
    for run in first.runs:
        assert queued[run.job] == f"afterany:{run.first_job.partition('_')[0]}_*"
    assert experiment_of(first.runs[0].experiment).describe() == first.runs[0].experiment

    again = sweep("ft,mib", "--orders", "natural,random:1")
    assert "4 runs are queued already" in again and "nothing to submit" in again
    wider = sweep("ft,mib,lwf", "--orders", "natural,random:1")
    assert "submitted 2 runs as sweep-2: 2 jobs in 1 arrays" in wider
    second = load_submissions(out)[1]
    assert {run.label.partition(" ")[0] for run in second.runs} == {"lwf"}
    assert {run.steps[0]: run.first_job for run in second.runs} == by_step
    queued = dependencies(ask)
    for run in second.runs:
        assert queued[run.job] == ",".join(sorted(f"afterany:{job}" for job in by_step.values()))


@pytest.mark.slurm
def test_jobs_ask_for_what_the_options_say(folder, ask):
    sweep("ft", "--partition", "high", "--nodes", "2", "--cpus", "2", "--mem", "1G", "--time", "2h")
    (run,) = load_submissions(folder / "runs")[0].runs
    asked = dict(word.partition("=")[::2] for word in ask("scontrol", "show", "job", run.job).split())
    wanted = {
        "Partition": "high", "NumNodes": "2-2", "NumTasks": "2", "CPUs/Task": "2",
        "MinMemoryNode": "1G", "TimeLimit": "02:00:00", "Requeue": "1", "WorkDir": str(folder),
    }  # fmt: skip
    assert {key: asked[key] for key in wanted} == wanted
    assert asked["JobName"].startswith("bench-sweep-1-") and not asked.get("WCKey")


@pytest.mark.slurm
def test_of_two_at_the_same_moment_one_submits(folder):
    command = [sys.executable, "-m", "issbench", *sweep_words("ft,mib")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].splitlines()[-1] for process in both)
    assert said[0] == "nothing to submit" and said[1].startswith("submitted 2 runs as sweep-1: 3 jobs")
    assert len(load_submissions(folder / "runs")) == 1


@pytest.mark.slurm
def test_a_refusal_has_slurms_words_and_leaves_nothing(folder):
    refused = refusal("ft", "--partition", "nowhere")
    assert "invalid partition" in refused.lower() and "choose another --partition" in refused
    too_large = refusal("ft", "--gpus", "4")
    assert "no node has what is asked; change --gpus, --nodes" in too_large
    assert load_submissions(folder / "runs") == []


@pytest.mark.slurm
def test_what_was_submitted_before_a_refusal_is_recorded(folder, monkeypatch):
    """A limit that is reached half way, played by an sbatch that refuses after one array."""
    real, place = shutil.which("sbatch"), folder / "bin"
    place.mkdir()
    words = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
    script = f'mkdir taken 2>/dev/null && exec {real} "$@"\necho "{words}" >&2; exit 1'
    (place / "sbatch").write_text(f"#!/bin/sh\n{script}\n")
    (place / "sbatch").chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        refused = refusal("ft,mib")
    assert "Slurm took 1 jobs of sweep-1 and then no more: Batch job submission failed" in refused
    (first,) = load_submissions(folder / "runs")
    assert len({run.first_job for run in first.runs}) == 1 and {run.job for run in first.runs} == {None}
    assert "submitted 2 runs as sweep-2: 2 jobs in 1 arrays" in sweep("ft,mib")
    assert {run.first_job for run in load_submissions(folder / "runs")[1].runs} == {first.runs[0].first_job}


@pytest.mark.slurm
def test_a_first_step_that_fails_ends_the_runs_that_need_it(folder, ask, wait_for):
    (folder / "cluster.toml").write_text(PROFILE)
    sweep("ft,mib", "--set", "first_lr=1e30")
    (submission,) = load_submissions(folder / "runs")
    first, later = submission.runs[0].first_job, {run.job for run in submission.runs}
    wait_for(lambda: not {first, *later} & set(dependencies(ask)), 240)
    found = statuses(folder / "runs")
    assert {each.state for each in found} == {"failed"}
    reason = "its first step failed: the term classification of the first step became"
    assert [(each.detail[: len(reason)], each.explained) for each in found] == [(reason, True)] * 2
    logs = (folder / "runs" / "submissions" / "sweep-1" / "jobs").glob("*_0_log.out")
    assert ["Traceback" in log.read_text() for log in logs] == [False] * 3
    again = CliRunner().invoke(app, ["retry", "--failed"])
    assert "submitted 2 runs as retry-2: 3 jobs in 2 arrays" in again.output, again.exception


@pytest.mark.slurm
def test_finished_runs_are_not_submitted_again(folder, ask, wait_for):
    (folder / "cluster.toml").write_text(PROFILE)
    sweep("ft", "--setup", "export CANARY=1", "--setup", "echo $CANARY > canary")
    (run,) = load_submissions(folder / "runs")[0].runs
    wait_for(lambda: run.job not in dependencies(ask), 240)
    again = sweep("ft")
    assert "all done" in again and "FT" in again  # and the table
    assert (folder / "canary").read_text() == "1\n"
