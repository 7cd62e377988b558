"""Whatever Slurm's commands answer, or not: no run is submitted twice, none is lost, what is not known is said."""

from __future__ import annotations

import hashlib
import json
import shlex
import stat
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from commands import bench, command
from fake_slurm import AWAY, LIMIT, FakeSlurm
from submissions import finish

from issbench.bench.launching.submissions import jobs_dir, load_submissions, outcome_path
from issbench.bench.outcome import read_outcome
from issbench.slurm import ask, sbatch
from issbench.slurm.cluster_job import main

RUNS = 3
SWEEP = ["sweep", "--methods", "ft,mib,lwf", "--scenario", "shapes_4-4", "--slurm", "--gpus", "0"]
"""Three runs that share their first step: an array of one job, and one of three."""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm that takes jobs, whose time-outs and pauses are short; commands are given beside it."""
    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", str(fake.place / "bin"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ask, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(ask, "PATIENCE", 1.0)
    monkeypatch.setattr(sbatch, "PATIENCE", 1.0)
    return fake


def assert_each_run_has_one_job(slurm: FakeSlurm) -> None:
    """Each run and the first step have one job that waits, and the records have just these."""
    alive = [job for job in slurm.jobs if job["state"] == "PENDING"]
    ids = [
        f"{job['number']}_{i}" if job["count"] > 1 else str(job["number"])
        for job in alive
        for i in range(job["count"])
    ]
    runs = [run for submission in load_submissions(Path("runs")) for run in submission.runs]
    of_runs = [run.job for run in runs if run.job in ids]
    firsts = {run.first_job for run in runs if run.first_job in ids}
    assert Counter(run.run for run in runs if run.job in ids) == dict.fromkeys({run.run for run in runs}, 1)
    assert sorted(ids) == sorted([*of_runs, *firsts]), "each job is recorded once"
    assert len(of_runs) == RUNS and len(firsts) == 1


@pytest.mark.parametrize(
    "answer",
    ["cluster", "number", "parsable", "banner", "epilogue", "garbage", "empty", "killed", "hang", "timed-out"],
)
def test_jobs_are_submitted_once_however_sbatch_answers(slurm, answer):
    slurm.set(sbatch=answer)
    assert "submitted 3 runs as sweep-1: 4 jobs in 2 arrays" in bench(*SWEEP)
    assert_each_run_has_one_job(slurm)
    assert "nothing to submit" in bench(*SWEEP)
    assert len(slurm.jobs) == 2


def test_accounting_knows_jobs_that_have_left_the_queue_before_their_number_was_known(slurm):
    slurm.set(sbatch="killed", after=1)
    (slurm.place / "bin" / "squeue").write_text("#!/bin/sh\n")
    bench(*SWEEP)
    assert {run.job.partition("_")[0] for run in load_submissions(Path("runs"))[0].runs} == {"102"}


@pytest.mark.parametrize(("answer", "after"), [("killed", 0), ("timed-out", 1), ("garbage", 1)])
def test_what_slurm_may_have_taken_is_looked_for_before_it_is_submitted_again(slurm, answer, after):
    """sbatch takes an array without a word, and then the queue does not answer either."""
    slurm.set(sbatch=answer, after=after, squeue="away")
    message = bench(*SWEEP, code=1)
    assert f"Slurm did not say whether it took {3 if after else 1} jobs" in message and AWAY in message
    assert "the same command looks for them first" in message
    for asked in (SWEEP, ["retry"], ["cancel", "sweep-1"]):
        assert f"squeue failed: {AWAY}" in bench(*asked, code=1)
    shown = command("status")
    assert shown.returncode == 1 and "3 runs: 3 unknown" in shown.stdout
    assert "the state of 3 runs is not known" in shown.stderr and AWAY in shown.stderr
    assert len(slurm.jobs) == 1 + after
    slurm.set()
    assert f"3 runs: 3 {'queued' if after else 'stopped'}" in bench("status")
    assert ("nothing to submit" if after else "3 jobs in 1 arrays") in bench(*SWEEP)
    assert_each_run_has_one_job(slurm)


@pytest.mark.parametrize("answer", ["nothing", "away-twice"])
def test_what_slurm_did_not_take_is_submitted_later(slurm, answer):
    slurm.set(sbatch=answer)
    if answer == "nothing":
        assert "sbatch printed 'See you at job 7!'" in bench(*SWEEP, code=1)
        slurm.set()
    bench(*SWEEP)
    assert_each_run_has_one_job(slurm)


def test_jobs_that_were_taken_without_a_word_can_be_cancelled(slurm):
    slurm.set(sbatch="killed", after=1, squeue="away")
    bench(*SWEEP, code=1)
    slurm.set()
    assert "cancelled 4 jobs of sweep-1" in bench("cancel", "sweep-1")
    assert "3 runs: 3 stopped" in bench("status")
    assert "submitted 3 runs as retry-2: 4 jobs" in bench("retry")
    assert_each_run_has_one_job(slurm)


def test_a_job_that_appears_after_it_was_given_up_does_nothing(slurm, monkeypatch):
    """As where a killed command left an sbatch behind that waited for the controller."""
    slurm.set(sbatch="nothing")
    bench(*SWEEP, code=1)
    (script,) = Path("runs/submissions/sweep-1/arrays").glob("*.sh")
    words = shlex.split(script.read_text().splitlines()[-1])
    slurm.set()
    bench(*SWEEP)
    monkeypatch.setenv("SLURM_JOB_ID", "99")
    assert main(Path(words[-2]), words[-1]) == 1
    outcome = read_outcome(outcome_path(jobs_dir(Path("runs"), "sweep-1"), "99"))
    assert outcome.state == "failed" and "the same command submits its runs again" in outcome.reason


REFUSALS = [
    ("Batch job submission failed: Invalid qos specification", "check --account and --qos"),
    ("Batch job submission failed: Invalid account or account/partition combination specified", "check --account"),
    ("invalid partition specified: nowhere", "choose another --partition; `sinfo` lists them"),
    (
        "Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
        "lower --time",
    ),
    ("Batch job submission failed: Requested node configuration is not available", "change --gpus, --nodes"),
    (LIMIT, "not even one job was taken: when others of your jobs have ended, the same command submits these"),
]


@pytest.mark.parametrize(("words", "hint"), REFUSALS)
def test_a_refusal_has_slurms_words_and_the_remedy(slurm, words, hint):
    slurm.set(refuse=words)
    message = bench(*SWEEP, code=1)
    assert message.startswith(f"error: Slurm took no job: {words}; ") and hint in message
    assert "--max-parallel" not in message
    assert load_submissions(Path("runs")) == []


@pytest.mark.parametrize("words", [REFUSALS[0][0], LIMIT])
def test_what_was_taken_before_a_refusal_is_known_and_the_same_command_goes_on(slurm, words):
    slurm.set(refuse=words, after=1)
    message = bench(*SWEEP, code=1)
    assert f"Slurm took 1 jobs of sweep-1 and then no more: {words}; " in message
    assert "the same command submits the rest" in message
    assert "3 runs: 3 stopped" in bench("status")
    slurm.set()
    bench(*SWEEP)
    assert_each_run_has_one_job(slurm)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_of_jobs_smaller_than_the_arrays_lets_every_run_through(slurm, limit):
    slurm.set(limit=limit)
    taken: Counter[str] = Counter()
    while sum(taken.values()) < RUNS:
        message = bench(*SWEEP, code=1) if sum(taken.values()) + limit < RUNS or not taken else bench(*SWEEP)
        jobs = {
            f"{job['number']}_{i}" if job["count"] > 1 else str(job["number"])
            for job in slurm.jobs
            if job["state"] == "PENDING"
            for i in range(job["count"])
        }
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
    assert set(taken.values()) == {1} and len(taken) == RUNS


def test_parts_of_an_array_keep_its_limit_of_jobs_at_once(slurm):
    """A cluster that does not say how long its arrays may be, and takes two jobs."""
    slurm.set(size=2, scontrol="absent")
    assert "submitted 3 runs as sweep-1: 4 jobs in 3 arrays" in bench(*SWEEP, "--max-parallel", "2")
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
    assert "4 jobs in 4 arrays" in bench(*SWEEP)
    assert not any("--array" in job["script"] for job in slurm.jobs)


@pytest.mark.parametrize(
    ("moods", "state", "detail"),
    [
        ({"squeue": "away"}, "unknown", f"squeue failed: {AWAY}"),
        ({"squeue": "hang"}, "unknown", "squeue gave no answer within 1 s"),
        ({"squeue": "absent"}, "unknown", "squeue"),
        ({"squeue": "away-twice"}, "queued", "about to start"),
        ({"sacct": "disabled"}, "queued", "about to start"),
        ({"scontrol": "absent", "sacct": "absent"}, "queued", "about to start"),
    ],
)
def test_while_jobs_wait_nothing_is_submitted_again_whatever_does_not_answer(slurm, moods, state, detail):
    bench(*SWEEP)
    slurm.set(**moods)
    shown = command("status")
    assert f"3 runs: 3 {state}" in shown.stdout and detail in shown.stdout
    assert shown.returncode == (state == "unknown")
    for asked in (["retry"], SWEEP):
        code = int(state == "unknown")
        assert ("squeue" if code else "no run to submit again", "squeue" if code else "nothing to submit")[
            asked is SWEEP
        ] in bench(*asked, code=code)
    run = load_submissions(Path("runs"))[0].runs[0].run
    assert f"{run} has no log yet: {state}, " in bench("logs", run)
    assert len(slurm.jobs) == 2


@pytest.mark.parametrize(
    ("moods", "why"),
    [
        ({"sacct": "disabled"}, "how it ended is not known: sacct failed: Slurm accounting storage is disabled"),
        ({"sacct": "absent"}, "how it ended is not known: this machine"),
        ({"sacct": "hang"}, "how it ended is not known: sacct gave no answer within 1 s"),
        ({"sacct": "late"}, "Slurm's accounting does not say how (yet)"),
        ({}, "NODE_FAIL; it was not requeued"),
    ],
)
def test_jobs_that_have_left_the_queue_are_submitted_again_even_where_accounts_say_nothing(slurm, moods, why):
    bench(*SWEEP)
    slurm.become("NODE_FAIL")
    slurm.set(**moods)
    assert why in bench("status")
    assert "submitted 3 runs as retry-2: 4 jobs in 2 arrays" in bench("retry")
    assert_each_run_has_one_job(slurm)


def test_a_job_that_only_accounting_believes_alive_is_not(slurm):
    bench(*SWEEP)
    slurm.become("RUNNING")
    (slurm.place / "bin" / "squeue").write_text("#!/bin/sh\n")
    assert "its job has left the queue; Slurm's accounting still has it as RUNNING" in bench("status")


NASTY = "a b'c\"d$(touch pwned);touch pwned`touch pwned`%j\\#é"


def test_no_word_of_the_user_is_read_by_a_shell(slurm, tmp_path, monkeypatch):
    folder = tmp_path / NASTY.replace("\\", "")
    folder.mkdir()
    monkeypatch.chdir(folder)
    profile = {"comment": NASTY, "wckey": NASTY, "requeue": False, "exclusive": True}
    extra = ", ".join(f"{key} = {json.dumps(value)}" for key, value in profile.items())
    Path("p.toml").write_text(f"partition = {json.dumps(NASTY)}\nextra = {{ {extra} }}\n")
    bench(
        *SWEEP,
        "--slurm-profile",
        "p.toml",
        "--out",
        NASTY.replace("\\", ""),
        "--mem",
        NASTY,
        "--account",
        "two words",
    )
    for job in slurm.jobs:
        lines = [
            line.removeprefix("#SBATCH --") for line in job["script"].splitlines() if line.startswith("#SBATCH")
        ]
        asked = dict(shlex.split(line)[0].partition("=")[::2] for line in lines)
        doubled = NASTY.replace("\\", "\\\\")
        assert (asked["partition"], asked["comment"], asked["mem"], asked["wckey"]) == (doubled,) * 4
        assert asked["chdir"] == str(folder) and "requeue" not in asked and asked["exclusive"] == ""
        logs = f"{folder}/{NASTY.replace(chr(92), '')}/submissions/sweep-1/jobs".replace("%", "%%")
        assert asked["output"].startswith(f"{logs}/%")
        ran = subprocess.run(
            ["/bin/bash", "-c", job["script"].replace("srun", "printf '%s\\n'", 1)],
            capture_output=True,
            text=True,
            check=True,
        )
        words = ran.stdout.splitlines()
        assert words[1].startswith(f"--output={logs}/%") and words[-3] == "issbench.slurm.cluster_job"
        assert Path(words[-2]).is_file() and hashlib.sha256(Path(words[-2]).read_bytes()).hexdigest() == words[-1]
    assert not [*tmp_path.rglob("pwned")]


def test_nothing_is_sent_to_slurm_that_was_not_asked_for(slurm):
    bench(*SWEEP)
    sent = {line.partition("=")[0] for line in slurm.jobs[1]["script"].splitlines() if line.startswith("#SBATCH")}
    asked = "array chdir dependency job-name nodes ntasks-per-node open-mode output parsable requeue signal time"
    assert sent == {f"#SBATCH --{option}" for option in asked.split()}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            'extra = { comment = "a\\n#SBATCH --uid=0" }',
            r"extra.comment = 'a\n#SBATCH --uid=0': it must be one line",
        ),
        ('extra = { "a\\nb" = 1 }', r"extra.a\nb': write the long name of an option of sbatch"),
        ('extra = { "x=1 --uid" = "0" }', "write the long name of an option of sbatch"),
        ('partition = "gpu\\ntouch pwned"', "partition = 'gpu\\ntouch pwned': it must be one line"),
        ("extra = { licenses = [1] }", "extra.licenses = [1]: it takes a text, a whole number, or true"),
        ("extra = { nice = 1.5 }", "extra.nice = 1.5: it takes a text"),
        ("extra = { job-name = 'x' }", "extra.job-name: the suite chooses this itself; leave it out"),
        ("extra = { job_name = 'x' }", "extra.job_name: the suite chooses this itself; leave it out"),
        ("extra = { clusters = 'a' }", "extra.clusters: the suite chooses this itself; leave it out"),
    ],
)
def test_a_profile_cannot_write_other_lines_of_the_script(slurm, line, words):
    Path("p.toml").write_text(line + "\n")
    message = bench(*SWEEP, "--slurm-profile", "p.toml", code=2)
    assert message.startswith("error: ") and "p.toml: " in message and words in message
    assert not slurm.calls and not Path("runs").exists()


def test_a_line_break_in_a_path_is_refused(slurm, tmp_path, monkeypatch):
    assert "a job's script takes no line breaks there" in bench(*SWEEP, "--out", "a\nb", code=2)
    assert not slurm.jobs


def test_the_folder_of_what_jobs_do_is_ours_alone(slurm, tmp_path):
    bench(*SWEEP)
    folder = Path("runs/submissions/sweep-1/arrays")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.suffix for path in folder.iterdir()} == {".json", ".sh"}
    assert not [*Path("runs").rglob("*.pkl")]


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_below_a_folder_that_everybody_may_change_nothing_is_submitted(slurm, tmp_path, mode):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    if mode & stat.S_ISVTX:
        bench(*SWEEP, "--out", shared / "runs")
        return
    message = bench(*SWEEP, "--out", shared / "runs", code=1)
    assert f"{shared} can be written by others" in message and "`chmod o-w` it, or choose another --out" in message
    assert not slurm.jobs


def job_words(slurm: FakeSlurm) -> list[str]:
    """The last words of what a job runs: the file of its tasks, and that file's checksum."""
    return shlex.split(slurm.jobs[0]["script"].splitlines()[-1])[-2:]


@pytest.mark.parametrize("change", ["altered", "writable", "parent"])
def test_a_job_does_only_what_was_submitted(slurm, tmp_path, monkeypatch, change, capsys):
    monkeypatch.setenv("SLURM_JOB_ID", "101")
    shared = tmp_path / "shared"
    shared.mkdir()
    bench(*SWEEP, "--out", shared / "runs")
    path, checksum = job_words(slurm)
    if change == "altered":
        Path(path).write_text(Path(path).read_text().replace("shapes_4-4", "shapes_4-1"))
    else:
        (Path(path).parent if change == "writable" else shared).chmod(0o777)
    assert main(Path(path), checksum) == 1
    outcome = read_outcome(outcome_path(jobs_dir(shared / "runs", "sweep-1"), "101"))
    why = "was altered since this job was submitted" if change == "altered" else "can be written by others"
    assert outcome.state == "failed" and why in outcome.reason
    assert why in capsys.readouterr().out
