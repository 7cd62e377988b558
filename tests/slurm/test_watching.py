"""bench status, logs and cancel without Slurm: jobs of --local, what is not there, and the live view."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from submissions import STEPS, finish, submission, submitted, train

from issbench.slurm.cancel import cancel
from issbench.slurm.status import statuses
from issbench.slurm.submissions import jobs_dir

CREW = """
import os, signal, sys, time
from submitit import LocalExecutor
executor = LocalExecutor(sys.argv[1])
executor.update_parameters(timeout_min=10)
def work():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it
    time.sleep(60)
jobs = [executor.submit(work) for _ in range(2)]
def stop(*_):
    for job in jobs:
        os.kill(int(job.job_id), signal.SIGTERM)
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
print(*(job.job_id for job in jobs), flush=True)
while True:
    time.sleep(0.1)
"""


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def states(out: Path) -> dict[str, tuple[str, str]]:
    return {each.run: (each.state, each.detail) for each in statuses(out)}


@pytest.fixture
def crew(tmp_path):
    """A command that runs two jobs with submitit, as `bench sweep --table II --local` would, and their ids."""
    folder = jobs_dir(tmp_path, "sweep-1")
    command = [sys.executable, "-c", CREW, str(folder), "sweep", "--table", "II"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield process, process.stdout.readline().split()
    process.terminate()
    process.wait(30)
    process.stdout.close()


def test_local_jobs(crew, wait_for, tmp_path):
    process, (first, second) = crew
    runs = submitted("a", first), submitted("b", None, second), submitted("c", None), submitted("d", "999999999")
    submission(tmp_path, *runs, executor="local")
    assert states(tmp_path) == {
        "a": ("running", ""),
        "b": ("queued", "its first step is running"),
        "c": ("queued", "waits for its turn"),
        "d": ("failed", "its job has ended"),
    }
    log = jobs_dir(tmp_path, "sweep-1") / "999999999_0_log.out"
    log.write_text("interrupted; its checkpoint is saved\n")
    assert states(tmp_path)["d"][0] == "stopped"
    assert cancel(tmp_path, "a").jobs == (first,)
    wait_for(lambda: states(tmp_path)["a"][0] == "failed")
    assert states(tmp_path)["b"][0] == "queued"
    assert process.poll() is None


def test_a_local_sweep_is_ended_by_the_command_that_started_it(crew, wait_for, tmp_path):
    process, jobs = crew
    submission(tmp_path, *(submitted(run, job) for run, job in zip("ab", jobs, strict=True)), executor="local")
    assert sorted(cancel(tmp_path, "sweep-1").jobs) == sorted(jobs)
    assert process.wait(30) == 7
    wait_for(lambda: {state for state, _ in states(tmp_path).values()} == {"failed"})


def test_a_stranger_with_the_number_of_a_job_is_let_live(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as stranger:
        submission(tmp_path, submitted("a", str(stranger.pid)), executor="local")
        assert states(tmp_path)["a"][0] == "failed"
        assert cancel(tmp_path, "a").jobs == ()
        assert stranger.poll() is None
        stranger.kill()


def test_a_local_job_of_another_machine_runs_while_it_gives_signs_of_life(tmp_path):
    submission(tmp_path, submitted("a", "999999999"), executor="local")
    train(tmp_path, "a")
    assert states(tmp_path)["a"][0] == "running"
    train(tmp_path, "a", ago=3600)
    assert states(tmp_path)["a"][0] == "failed"


def test_a_failed_run_is_told_with_its_reason(tmp_path):
    runs = [submitted(name, f"99999999{number}") for name, number in (("a", 9), ("b", 8), ("c", 7))]
    submission(tmp_path, *runs, executor="local")
    logs = jobs_dir(tmp_path, "sweep-1")
    (logs / "999999997_0_log.out").write_text("of several processes this one was ended\n")
    (logs / "999999997_1_log.out").write_text("failed: out of memory\n")
    (logs / "999999997_2_log.out").write_text("and this one, too\n")
    end = "srun: error: n1: task 0: Exited with exit code 1\n"
    (logs / "999999999_0_log.out").write_text(f"started\n[ft] failed: the loss became nan\n{end}")
    (logs / "999999998_0_log.out").write_text(f"{end}one\ntwo\n\nthree\nfour\n")
    told = bench("status", "--out", str(tmp_path)).stdout
    lines = [line.strip().rpartition("  ")[2] for line in told.splitlines()]
    assert "the loss became nan" in told and "started" not in told and "srun" not in told
    assert "failed: out of memory" in told and "too" not in told
    assert [line for line in lines if line in ("one", "two", "three", "four")] == ["two", "three", "four"]
    assert "started" in bench("status", "--failed", "--out", str(tmp_path)).stdout


def test_a_local_run_whose_turn_never_came(tmp_path):
    submission(tmp_path, submitted("a", None, "999999999"), submitted("b", None), executor="local")
    assert states(tmp_path)["a"] == ("failed", "its first step failed")
    (tmp_path / "steps" / STEPS[0]).mkdir(parents=True)
    assert set(states(tmp_path).values()) == {("stopped", "not started; the same command starts it")}


def test_logs_find_runs_by_their_beginning_or_hash(tmp_path):
    submission(tmp_path, submitted("voc_15-1-ft-seed0-1234abcd", None), executor="local")
    finish(tmp_path, "voc_15-1-plop-seed0-99999999")
    (tmp_path / "runs" / "voc_15-1-plop-seed0-99999999" / "log.txt").write_text("all is well\n")
    assert bench("logs", "99999999", "--out", str(tmp_path)).stdout == "all is well\n"
    told = bench("logs", "voc_15-1-ft", "--out", str(tmp_path)).stdout
    assert (
        told
        == "voc_15-1-ft-seed0-1234abcd has told nothing yet: stopped, not started; the same command starts it\n"
    )
    done = bench("logs", "voc", "--out", str(tmp_path))
    assert done.returncode == 2 and "fits 2 runs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status"], "error: {out} holds no run; pass --out DIR as to `bench run`\n"),
        (["status", "--sweep", "sweep-7"], "error: no submission 'sweep-7' in {out}; it has none\n"),
        (
            ["status", "--watch"],
            "error: --watch needs a terminal; without it, `bench status` tells how things stand\n",
        ),
        (["logs", "x"], "error: no run 'x' in {out}; it has none\n"),
        (["cancel", "x"], "error: no run 'x' in {out}; it has none\n"),
    ],
)
def test_what_is_not_there_is_told(tmp_path, arguments, message):
    done = bench(*arguments, "--out", str(tmp_path))
    assert (done.returncode, done.stderr) == (2, message.format(out=tmp_path))


def test_the_live_view_ends_when_all_is_over(tmp_path):
    submission(tmp_path, submitted("a", "999999999"), executor="local")
    finish(tmp_path, "a")
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "bench", "status", "--watch", "--out", str(tmp_path)]
    done = subprocess.run(command, stdout=terminal, stderr=terminal, timeout=60, check=False)
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
