"""bench status, logs and cancel on real jobs of the test cluster."""

import re
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from submissions import finish, submission, submitted, train

from issbench.bench.launching.cancel import cancel
from issbench.bench.launching.status import statuses
from issbench.bench.launching.submissions import jobs_dir
from issbench.results.read_record import read_record

pytestmark = pytest.mark.slurm

MANY = 2000


def bench(*arguments: str) -> str:
    """What a command prints; it must succeed."""
    command = [sys.executable, "-m", "issbench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def submit(ask, tmp_path):
    """Submits a job with its log where ours have it; gives its number. Ends all jobs after the test."""
    folder = jobs_dir(tmp_path, "sweep-1")
    jobs = []

    def submit(script: str, *options: str) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        number = "%A_%a" if any("--array" in option for option in options) else "%j"
        jobs.append(
            ask("sbatch", "--parsable", f"--output={folder}/{number}_0_log.out", *options, f"--wrap={script}")
        )
        return jobs[-1]

    yield submit
    ask("scancel", "--quiet", *jobs)


@pytest.fixture
def states(tmp_path):
    """The runs' states and details now."""
    return lambda: {each.run: (each.state, each.detail) for each in statuses(tmp_path)}


def test_states_of_real_jobs(submit, states, ask, wait_for, tmp_path):
    script = (
        "case $SLURM_ARRAY_TASK_ID in 0) sleep 600;; 1) echo broken >&2; exit 3;; 2) kill -9 $$;; 3) true;; esac"
    )
    array = submit(script, "--array=0-3")
    held = submit("true", "--hold")
    later = submit("true", "--begin=now+1hour")
    cancelled = submit("true", "--hold")
    ask("scancel", cancelled)
    waiting = submit("true", f"--dependency=afterok:{array}_0")
    requeued = submit("sleep 600")
    jobs = {
        "runs": f"{array}_0", "fails": f"{array}_1", "killed": f"{array}_2", "done": f"{array}_3", "held": held,
        "later": later, "cancelled": cancelled, "requeued": requeued,
    }  # fmt: skip
    submission(
        tmp_path,
        *(submitted(run, job) for run, job in jobs.items()),
        submitted("waits", waiting, f"{array}_0"),
        submitted("refused", None),
    )
    finish(tmp_path, "done")
    train(tmp_path, "runs")
    wait_for(lambda: states()["requeued"][0] == "running")
    ask("scontrol", "requeue", requeued)
    wait_for(lambda: states()["fails"][1].startswith("FAILED"))  # accounting comes later
    wait_for(lambda: states()["killed"][1].startswith("FAILED"))
    wait_for(lambda: states()["requeued"][1].startswith("BeginTime; starts again at"))
    found = states()
    assert found["later"][0] == "queued" and found["later"][1].startswith("BeginTime; starts again at")
    assert {run: found[run] for run in found if run not in ("later", "requeued")} == {
        "runs": ("running", ""),
        "fails": ("failed", "FAILED with exit code 3"),
        "killed": ("failed", "FAILED by signal 9"),
        "done": ("done", ""),
        "held": ("queued", f"JobHeldUser; `scontrol release {held}` lets it go"),
        "cancelled": ("stopped", "CANCELLED"),
        "waits": ("queued", f"its first step is running (job {array}_0)"),
        "refused": ("stopped", "not started; the same command starts it"),
    }
    told = bench("status", "--out", str(tmp_path))
    assert "step 1 of 0–5, epoch 12/30, iteration 120/300, 0:01:30 to the end of the step" in told
    assert "broken" in told  # the end of the log of a job that gave no reason
    ends = ("1 running, 2 stopped, 4 queued", "2 running, 2 stopped, 3 queued")  # the requeued one may run again
    assert told.endswith(tuple(f"10 runs: 2 failed, {end}, 1 done\n" for end in ends))
    only = bench("status", "--out", str(tmp_path), "--failed")
    assert "broken" in only and "JobHeld" not in only
    assert "broken" in bench("logs", "fails", "--out", str(tmp_path))


def test_a_node_that_fails(submit, states, ask, wait_for, tmp_path):
    submission(tmp_path, submitted("r", submit("sleep 600", "--no-requeue", "--nodelist=n2")))
    wait_for(lambda: states()["r"][0] == "running")
    ask("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    wait_for(lambda: states()["r"] == ("failed", "NODE_FAIL; it was not requeued"))
    wait_for(lambda: "idle" in ask("sinfo", "--noheader", "--nodes=n2", "--format=%T"))


def test_cancel_leaves_a_first_step_to_other_runs_that_wait_for_it(submit, states, wait_for, tmp_path):
    first = submit("sleep 600", "--array=0-1")
    mine = submit("sleep 600", "--array=0-2", f"--dependency=aftercorr:{first}")
    other = submit("sleep 600", f"--dependency=afterok:{first}_0")
    submission(
        tmp_path,
        submitted("a", f"{mine}_0", f"{first}_0"),
        submitted("b", f"{mine}_1", f"{first}_1"),
        submitted("c", f"{mine}_2"),
    )
    submission(tmp_path, submitted("other", other, f"{first}_0"), name="run-2", created=2.0)
    wait_for(lambda: "running" in states()["other"][1])
    assert "cancelled 1 jobs of c" in bench("cancel", "c", "--out", str(tmp_path))
    wait_for(lambda: states()["c"] == ("stopped", "CANCELLED"))
    found = cancel(tmp_path, "sweep-1")
    assert set(found.jobs) == {f"{mine}_0", f"{mine}_1", f"{first}_1"}
    assert found.kept == {f"{first}_0": 1}
    wait_for(lambda: {states()[run][0] for run in "abc"} == {"stopped"})
    assert states()["other"] == ("queued", f"its first step is running (job {first}_0)")
    assert set(cancel(tmp_path, "other").jobs) == {other, f"{first}_0"}  # now nobody else needs it
    wait_for(lambda: states()["other"][0] == "stopped")
    assert cancel(tmp_path, "sweep-1").jobs == ()


def test_thousands_of_runs_cost_little_more_than_reading_their_records(submit, tmp_path):
    arrays = [submit("true", "--hold", f"--array=0-{MANY // 4 - 1}") for _ in range(2)]
    queued = [f"{array}_{index}" for array in arrays for index in range(MANY // 4)]
    runs = [submitted(f"run-{n}", queued[n % len(queued)], method=f"m{n % 11}") for n in range(MANY)]
    submission(tmp_path, *runs)
    records = [finish(tmp_path, run.run, numbers=800) for run in runs[: MANY // 2]]  # about as long as real ones
    started = time.process_time()
    for record in records:
        read_record(record, record.parent.name)
    reading, started = time.process_time() - started, time.process_time()
    assert len(statuses(tmp_path)) == MANY
    assert time.process_time() - started <= 3 * reading
    told = bench("status", "--out", str(tmp_path))
    assert told.endswith(f"{MANY} runs: {MANY // 2} queued, {MANY // 2} done\n")
    assert re.search(r"^m10 +· +· +· +· +9\d +9\d", told, re.MULTILINE)
    assert len(told.splitlines()) < 60


def test_a_log_is_followed(submit, tmp_path):
    submission(tmp_path, submitted("r", submit("sleep 600")))
    log = tmp_path / "runs" / "r" / "log.txt"
    command = [sys.executable, "-m", "issbench", "logs", "r", "-f", "--out", str(tmp_path)]
    attend = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # tests in the background would pass on to ignore it
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=attend) as following:
        try:
            log.parent.mkdir(parents=True)
            for line in ("first\n", "second\n"):
                with log.open("a") as file:
                    file.write(line)
                assert following.stdout.readline() == line
            following.send_signal(signal.SIGINT)
            assert following.wait(10) == 130
        finally:
            following.kill()
