"""The test cluster is a Slurm that queues, accounts, preempts and requeues, and it leaves nothing behind."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_cluster import ClusterError, is_test_cluster, start, stop, temporary_cluster

STEP = "sleep 0.3; touch first-$SLURM_ARRAY_TASK_ID"
NEXT = "mv first-$SLURM_ARRAY_TASK_ID second-$SLURM_ARRAY_TASK_ID"
TOLD = """#!/bin/bash
trap 'echo signal; scontrol requeue $SLURM_JOB_ID; sleep 60' USR1
echo attempt ${SLURM_RESTART_COUNT:-0}
[ -n "$SLURM_RESTART_COUNT" ] && exit 0
while true; do sleep 0.1; done
"""


def submit(ask, *arguments: str) -> str:
    """The number of the new job."""
    return ask("sbatch", "--parsable", "--output=%A.log", "--open-mode=append", *arguments)


def processes_with(text: str) -> list[str]:
    """Command lines of processes that have a text in it; this one's own is not among them."""
    lines = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    return [line.decode().replace("\0", " ") for line in lines if text.encode() in line]


@pytest.mark.slurm
def test_a_job_runs_on_both_nodes(ask):
    assert sorted(ask("srun", "--nodes=2", "printenv", "SLURMD_NODENAME").split()) == ["n1", "n2"]


@pytest.mark.slurm
def test_accounting_knows_a_finished_job(ask, wait_for, tmp_path):
    job = submit(ask, "--chdir", str(tmp_path), "--wrap=exit 3")
    wait_for(lambda: "FAILED|3:0" in ask("sacct", "-X", "-n", "-P", "-j", job, "--format=state,exitcode"))


@pytest.mark.slurm
def test_a_task_of_an_array_waits_for_its_counterpart_alone(ask, wait_for, tmp_path):
    first = submit(ask, "--chdir", str(tmp_path), "--array=0-3%2", f"--wrap={STEP}")
    submit(ask, "--chdir", str(tmp_path), "--array=0-3", f"--dependency=aftercorr:{first}", f"--wrap={NEXT}")
    wait_for(lambda: len(list(tmp_path.glob("second-*"))) == 4)


@pytest.mark.slurm
def test_a_preempted_job_is_told_and_runs_again(ask, wait_for, tmp_path):
    script = tmp_path / "job.sh"
    script.write_text(TOLD)
    job = submit(ask, "--chdir", str(tmp_path), "--nodes=2", "--exclusive", "--signal=B:USR1@1", str(script))
    log = tmp_path / f"{job}.log"
    wait_for(lambda: log.exists() and "attempt 0" in log.read_text())
    ask("srun", "--partition=high", "--nodes=2", "--exclusive", "true")
    wait_for(lambda: "attempt 1" in log.read_text())
    assert [line for line in log.read_text().split("\n") if line in ("signal", "attempt 0", "attempt 1")] == [
        "attempt 0", "signal", "attempt 1",
    ]  # fmt: skip


@pytest.mark.slurm
def test_submitit_runs_a_function(tmp_path):
    submitit = pytest.importorskip("submitit")
    executor = submitit.AutoExecutor(tmp_path, cluster="slurm")
    executor.update_parameters(timeout_min=10, tasks_per_node=2, nodes=2)
    ranks = executor.submit(lambda: submitit.JobEnvironment().global_rank).results()
    assert ranks == [0, 1, 2, 3]


@pytest.mark.slurm
def test_stop_leaves_nothing(ask, wait_for):
    with temporary_cluster() as conf:
        assert os.environ["SLURM_CONF"] == str(conf)
        script = f": {conf.parent}; sleep 1000"
        ask("sbatch", f"--chdir={conf.parent}", f"--wrap=sh -c '{script}'")
        wait_for(lambda: any("sleep 1000" in line for line in processes_with(str(conf.parent))))
    assert not conf.parent.exists()
    assert processes_with(str(conf.parent)) == []
    assert os.environ["SLURM_CONF"] != str(conf)


@pytest.mark.slurm
def test_a_daemon_that_does_not_come_up_is_named_with_its_log(monkeypatch, tmp_path):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        monkeypatch.setattr("slurm_cluster.cluster.free_ports", lambda n: [taken.getsockname()[1]] * n)
        monkeypatch.setattr("slurm_cluster.cluster._PATIENCE", 1.0)
        with pytest.raises(ClusterError, match=r"slurmdbd (ended|did not answer)[^$]*Address already in use"):
            start(tmp_path / "c")
    assert not (tmp_path / "c").exists()
    assert processes_with(str(tmp_path / "c")) == []


def test_the_user_must_be_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="root"):
        start()


def test_missing_programs_are_named_with_their_packages(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name, path: None if name.startswith("slurm") else name)
    with pytest.raises(ClusterError, match=r"slurmdbd, slurmd not found; .* slurmdbd slurm-wlm`"):
        start()


def test_another_cluster_is_never_stopped(tmp_path):
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=real\n")
    assert not is_test_cluster(conf)
    done = subprocess.run(
        [sys.executable, "tests/support/slurm_cluster", "stop"],
        env={**os.environ, "SLURM_CONF": str(conf)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path} has no test cluster")
    assert conf.exists()
    with pytest.raises(ClusterError):
        stop(conf)


def test_a_directory_in_use_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr("slurm_cluster.cluster._check_machine", lambda: None)
    (tmp_path / "mine").touch()
    with pytest.raises(ClusterError, match="not empty"):
        start(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
