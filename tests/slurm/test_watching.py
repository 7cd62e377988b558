"""bench status, logs and cancel without Slurm: jobs of --local, what is not there, and the live view."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from submissions import finish, local_process, submission, submitted, train

from issbench.bench.launching.cancel import cancel
from issbench.bench.launching.status import statuses
from issbench.bench.launching.submissions import jobs_dir, outcome_path
from issbench.bench.outcome import State, write_outcome
from issbench.errors import UsageError


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "issbench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def states(out: Path) -> dict[str, tuple[str, str]]:
    return {each.run: (each.state, each.detail) for each in statuses(out)}


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts processes like those of local jobs, and ends them after the test."""
    processes = []

    def start(job: str) -> subprocess.Popen[bytes]:
        processes.append(local_process(tmp_path, job))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait(600)


def leave(out: Path, job: str, state: State, reason: str = "") -> None:
    """What a job leaves."""
    write_outcome(outcome_path(jobs_dir(out, "sweep-1"), job), state, reason)


def test_local_jobs(start, wait_for, tmp_path):
    runs = [submitted(run, f"sweep-1.{number}") for number, run in enumerate("abcdef")]
    submission(tmp_path, *runs, submitted("g", "sweep-1.6", "sweep-1.first0"), launcher="local")
    assert set(states(tmp_path).values()) == {("stopped", "not started; the same command starts it")}
    processes = [start("sweep-1.0"), start("sweep-1.first0")]
    leave(tmp_path, "sweep-1.0", "running")
    leave(tmp_path, "sweep-1.first0", "running")
    leave(tmp_path, "sweep-1.2", "failed", "the loss became nan")
    leave(tmp_path, "sweep-1.3", "interrupted")
    leave(tmp_path, "sweep-1.4", "running")
    leave(tmp_path, "sweep-1.5", "done")
    wait_for(lambda: states(tmp_path)["a"] == ("running", ""))
    assert states(tmp_path) == {
        "a": ("running", ""),
        "b": ("queued", "waits for its turn"),
        "c": ("failed", "the loss became nan"),
        "d": ("stopped", "interrupted; the same command resumes it"),
        "e": ("failed", "its job has ended without a word"),
        "f": ("failed", "its job is done, but the run is not"),
        "g": ("queued", "its first step is running (job sweep-1.first0)"),
    }
    assert cancel(tmp_path, "a").jobs == ("sweep-1.0",)
    processes[0].wait(600)
    assert cancel(tmp_path, "sweep-1").jobs == ("sweep-1.1", "sweep-1.6", "sweep-1.first0")
    processes[1].wait(600)
    assert states(tmp_path)["b"] == states(tmp_path)["g"] == ("stopped", "cancelled")
    assert cancel(tmp_path, "sweep-1").jobs == ()


def test_cancel_leaves_a_local_first_step_to_other_runs(start, wait_for, tmp_path):
    runs = [submitted(run, f"sweep-1.{number}", "sweep-1.first0") for number, run in enumerate("ab")]
    submission(tmp_path, *runs, launcher="local")
    process = start("sweep-1.first0")
    wait_for(lambda: states(tmp_path)["a"][0] == "queued")
    found = cancel(tmp_path, "a")
    assert (found.jobs, found.kept) == (("sweep-1.0",), {"sweep-1.first0": 1})
    assert states(tmp_path) == {"a": ("stopped", "cancelled"), "b": states(tmp_path)["b"]}
    assert cancel(tmp_path, "b").jobs == ("sweep-1.1", "sweep-1.first0")
    process.wait(600)


def test_processes_of_another_store_are_let_live(start, wait_for, tmp_path):
    submission(tmp_path, submitted("a", "sweep-1.0"), launcher="local")
    process = start("sweep-1.0")
    wait_for(lambda: states(tmp_path)["a"][0] == "running")
    other = tmp_path / "other"
    submission(other, submitted("a", "sweep-1.0"), launcher="local")
    assert states(other)["a"][0] == "stopped"
    assert cancel(other, "a").jobs == ()
    assert process.poll() is None


def test_a_local_job_of_another_machine_runs_while_it_gives_signs_of_life(tmp_path):
    submission(tmp_path, submitted("a", "sweep-1.0"), launcher="local")
    leave(tmp_path, "sweep-1.0", "running")
    train(tmp_path, "a")
    assert states(tmp_path)["a"][0] == "running"
    train(tmp_path, "a", ago=3600)
    assert states(tmp_path)["a"][0] == "failed"


def test_a_failed_run_is_shown_with_its_reason(tmp_path):
    submission(tmp_path, submitted("a", "sweep-1.0"), submitted("b", "sweep-1.1"), launcher="local")
    logs = jobs_dir(tmp_path, "sweep-1")
    (logs / "sweep-1.0_0_log.out").write_text("started\nand ended\n")
    (logs / "sweep-1.1_0_log.out").write_text("one\ntwo\n\nthree\nfour\n")
    leave(tmp_path, "sweep-1.0", "failed", "the loss became nan")
    leave(tmp_path, "sweep-1.1", "running")
    shown = bench("status", "--out", str(tmp_path)).stdout
    lines = [line.strip().rpartition("  ")[2] for line in shown.splitlines()]
    assert "the loss became nan" in shown and "started" not in shown
    assert [line for line in lines if line in ("one", "two", "three", "four")] == ["two", "three", "four"]
    assert "started" in bench("status", "--failed", "--out", str(tmp_path)).stdout
    assert "the loss became nan; the end of" in bench("logs", "a", "--out", str(tmp_path)).stdout


def test_a_submission_of_an_unknown_launcher_is_named(tmp_path):
    submission(tmp_path, submitted("a", "1"), launcher="locale")
    with pytest.raises(UsageError, match=r"unknown launcher 'locale'; did you mean local\?"):
        statuses(tmp_path)


def test_logs_find_runs_by_their_beginning_or_hash(tmp_path):
    submission(tmp_path, submitted("voc_15-1-ft-seed0-1234abcd", None), launcher="local")
    finish(tmp_path, "voc_15-1-plop-seed0-99999999")
    (tmp_path / "runs" / "voc_15-1-plop-seed0-99999999" / "log.txt").write_text("all is well\n")
    assert bench("logs", "99999999", "--out", str(tmp_path)).stdout == "all is well\n"
    told = bench("logs", "voc_15-1-ft", "--out", str(tmp_path)).stdout
    assert told == "voc_15-1-ft-seed0-1234abcd has no log yet: stopped, not started; the same command starts it\n"
    done = bench("logs", "voc", "--out", str(tmp_path))
    assert done.returncode == 2 and "fits 2 runs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status"], "error: {out} holds no run; pass --out DIR as to `bench run`\n"),
        (["status", "--sweep", "sweep-7"], "error: no submission 'sweep-7' in {out}; it has none\n"),
        (
            ["status", "--watch"],
            "error: --watch needs a terminal; without it, `bench status` shows how things are now\n",
        ),
        (["logs", "x"], "error: no run 'x' in {out}; it has none\n"),
        (["cancel", "x"], "error: no run 'x' in {out}; it has none\n"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, arguments, message):
    done = bench(*arguments, "--out", str(tmp_path))
    assert (done.returncode, done.stderr) == (2, message.format(out=tmp_path))


def test_the_live_view_ends_when_all_is_over(tmp_path):
    submission(tmp_path, submitted("a", "sweep-1.0"), launcher="local")
    finish(tmp_path, "a")
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "issbench", "status", "--watch", "--out", str(tmp_path)]
    done = subprocess.run(command, stdout=terminal, stderr=terminal, timeout=600, check=False)
    assert done.returncode == 0
    assert b"1 runs: 1 done" in os.read(screen, 100_000)


def test_watching_needs_no_torch(tmp_path):
    finish(tmp_path, "a")
    code = (
        "import sys; from issbench.bench.commands.app import app; app(standalone_mode=False); "
        "sys.exit(sum(name in sys.modules for name in ('torch', 'submitit')))"
    )
    for command in ("status", "logs a", "cancel a"):
        arguments = ["bench", *command.split(), "--out", str(tmp_path)]
        script = f"import sys; sys.argv = {arguments!r}; {code}"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
