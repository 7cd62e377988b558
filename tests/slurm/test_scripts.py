"""The scripts of jobs: no word of the user is read by a shell, and a job does only what was submitted."""

from __future__ import annotations

import hashlib
import json
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from commands import bench
from fake_slurm import FakeSlurm
from three_runs import SWEEP, sweep

from issbench.bench.launching.submissions import jobs_dir, outcome_path
from issbench.bench.outcome import read_outcome
from issbench.slurm.cluster_job import main

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
    sweep()
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


def test_the_folder_of_what_jobs_do_is_ours_alone(slurm):
    sweep()
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
