"""Whatever Slurm's commands answer, or not: no run is submitted twice, none is lost, what is not known is said."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path

import pytest
from commands import bench, command
from fake_slurm import AWAY, LIMIT
from submissions import finish
from three_runs import METHODS, assert_each_run_has_one_job, sweep, waiting_jobs

from issbench.bench.launching.submissions import jobs_dir, load_submissions, outcome_path
from issbench.bench.outcome import read_outcome
from issbench.files import write_sealed
from issbench.slurm.cluster_job import main


@pytest.mark.parametrize(
    "answer",
    ["cluster", "number", "parsable", "banner", "epilogue", "garbage", "empty", "killed", "hang", "timed-out"],
)
def test_jobs_are_submitted_once_however_sbatch_answers(slurm, answer, request):
    if answer == "hang":
        request.getfixturevalue("impatient")
    slurm.set(sbatch=answer)
    assert "submitted 3 runs as sweep-1: 4 jobs in 2 arrays" in sweep()
    assert_each_run_has_one_job(slurm)
    assert "nothing to submit" in sweep()
    assert len(slurm.jobs) == 2


def test_accounting_knows_jobs_that_have_left_the_queue_before_their_number_was_known(slurm):
    slurm.set(sbatch="killed", after=1)
    (slurm.place / "bin" / "squeue").write_text("#!/bin/sh\n")
    sweep()
    assert {run.job.partition("_")[0] for run in load_submissions(Path("runs"))[0].runs} == {"102"}


@pytest.mark.parametrize(("answer", "after"), [("killed", 0), ("timed-out", 1), ("garbage", 1)])
def test_what_slurm_may_have_taken_is_looked_for_before_it_is_submitted_again(slurm, answer, after):
    """sbatch takes an array without a word, and then the queue does not answer either."""
    slurm.set(sbatch=answer, after=after, squeue="away")
    message = sweep(1)
    assert f"Slurm did not say whether it took {3 if after else 1} jobs" in message and AWAY in message
    assert "the same command looks for them first" in message
    assert f"squeue failed: {AWAY}" in sweep(1)
    for asked in (["retry"], ["cancel", "sweep-1"]):
        assert f"squeue failed: {AWAY}" in bench(*asked, code=1)
    shown = command("status")
    assert shown.returncode == 1 and "3 runs: 3 unknown" in shown.stdout
    assert "the state of 3 runs is not known" in shown.stderr and AWAY in shown.stderr
    assert len(slurm.jobs) == 1 + after
    slurm.set()
    assert f"3 runs: 3 {'queued' if after else 'stopped'}" in bench("status")
    assert ("nothing to submit" if after else "3 jobs in 1 arrays") in sweep()
    assert_each_run_has_one_job(slurm)


@pytest.mark.parametrize("answer", ["nothing", "away-twice"])
def test_what_slurm_did_not_take_is_submitted_later(slurm, answer):
    slurm.set(sbatch=answer)
    if answer == "nothing":
        assert "sbatch printed 'See you at job 7!'" in sweep(1)
        slurm.set()
    sweep()
    assert_each_run_has_one_job(slurm)


def test_jobs_that_were_taken_without_a_word_can_be_cancelled(slurm):
    slurm.set(sbatch="killed", after=1, squeue="away")
    sweep(1)
    slurm.set()
    assert "cancelled 4 jobs of sweep-1" in bench("cancel", "sweep-1")
    assert "3 runs: 3 stopped" in bench("status")
    assert "submitted 3 runs as retry-2: 4 jobs" in bench("retry")
    assert_each_run_has_one_job(slurm)


def test_a_job_that_appears_after_it_was_given_up_does_nothing(slurm, monkeypatch):
    """As where a killed command left an sbatch behind that waited for the controller."""
    slurm.set(sbatch="nothing")
    sweep(1)
    (script,) = Path("runs/submissions/sweep-1/arrays").glob("*.sh")
    words = shlex.split(script.read_text().splitlines()[-1])
    slurm.set()
    sweep()
    monkeypatch.setenv("SLURM_JOB_ID", "99")
    assert main(Path(words[-2]), words[-1]) == 1
    outcome = read_outcome(outcome_path(jobs_dir(Path("runs"), "sweep-1"), "99"))
    assert outcome.state == "failed" and "the same command submits its runs again" in outcome.reason


ARRAY = "Batch job submission failed: Invalid job array specification"
REFUSALS = [
    ("Batch job submission failed: Invalid qos specification", "check --account and --qos"),
    ("Batch job submission failed: Invalid account or account/partition combination specified", "check --account"),
    ("invalid partition specified: nowhere", "choose another --partition; `sinfo` lists them"),
    (
        "Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
        "lower --time",
    ),
    ("Batch job submission failed: Requested node configuration is not available", "change --gpus, --nodes"),
    (ARRAY, "it took no smaller ones either, down to a single job; `scontrol show config` has the longest array"),
    (LIMIT, "not even one job was taken: when others of your jobs have ended, the same command submits these"),
]


@pytest.mark.parametrize(("words", "hint"), REFUSALS)
def test_a_refusal_has_slurms_words_and_the_remedy(slurm, words, hint):
    slurm.set(refuse=words)
    message = sweep(1)
    assert message.startswith(f"error: Slurm took no job: {words}; ") and hint in message
    assert "--max-parallel" not in message
    assert load_submissions(Path("runs")) == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (REFUSALS[0][0], "`sacctmgr show associations user=$USER` lists yours. Then the"),
        (ARRAY, "(MaxArraySize), and its support knows who may submit arrays. Then the"),
        (LIMIT, "when some of these jobs have ended, the"),
    ],
)
def test_what_was_taken_before_a_refusal_is_known_and_the_same_command_goes_on(slurm, words, hint):
    slurm.set(refuse=words, after=1)
    message = sweep(1)
    assert f"Slurm took 1 jobs of sweep-1 and then no more: {words}; " in message
    assert f"{hint} same command submits the rest" in message
    assert "3 runs: 3 stopped" in bench("status")
    slurm.set()
    sweep()
    assert_each_run_has_one_job(slurm)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_of_jobs_smaller_than_the_arrays_lets_every_run_through(slurm, limit):
    slurm.set(limit=limit)
    taken: Counter[str] = Counter()
    while sum(taken.values()) < len(METHODS):
        message = sweep(int(sum(taken.values()) + limit < len(METHODS) or not taken))
        jobs = waiting_jobs(slurm)
        assert 1 <= len(jobs) <= limit
        if "error" in message:
            assert "when some of these jobs have ended, the same command submits the rest" in message
        for run in (run for submission in load_submissions(Path("runs")) for run in submission.runs):
            if run.first_job in jobs:
                (Path("runs/steps") / run.steps[0][0]).mkdir(parents=True, exist_ok=True)
            if run.job in jobs:
                finish(Path("runs"), run.run, run.steps)
                taken[run.run] += 1
        slurm.become("COMPLETED")
    assert set(taken.values()) == {1} and len(taken) == len(METHODS)


def test_parts_of_an_array_keep_its_limit_of_jobs_at_once(slurm):
    """A cluster that does not say how long its arrays may be, and takes two jobs."""
    slurm.set(size=2, scontrol="absent")
    assert "submitted 3 runs as sweep-1: 4 jobs in 3 arrays" in sweep(max_parallel=2)
    lines = [
        line for job in slurm.jobs for line in job["script"].splitlines() if "--array" in line or "--dep" in line
    ]
    assert lines == [
        "#SBATCH --array=0-1%2",
        "#SBATCH --dependency=afterany:101",
        "#SBATCH --dependency=afterany:101:102",
    ]


@pytest.mark.parametrize("size", [0, 1])
def test_a_cluster_without_arrays_takes_single_jobs(slurm, size):
    slurm.set(size=max(1, size))
    assert "4 jobs in 4 arrays" in sweep()
    assert not any("--array" in job["script"] for job in slurm.jobs)


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "checksum"),
        (lambda path: path.write_text("[]"), "checksum"),
        (lambda path: write_sealed(path, {"firsts": True, "runs": [9]}, path.stem), "of 3 does not have"),
        (
            lambda path: write_sealed(path, {"firsts": True, "runs": "x"}, path.stem),
            "does not hold what belongs there",
        ),
    ],
)
def test_a_damaged_note_of_what_slurm_may_have_taken_is_named_and_nothing_is_submitted_twice(slurm, damaged, why):
    slurm.set(sbatch="killed", after=0, squeue="away")
    sweep(1)
    (note,) = Path("runs").rglob("*.open")
    damaged(note)
    slurm.set()
    for said in (sweep(1), bench("status", code=1), bench("cancel", "sweep-1", code=1)):
        assert str(note) in said and why in said and f"scancel --name {note.stem}" in said
    assert len(slurm.jobs) == 1
