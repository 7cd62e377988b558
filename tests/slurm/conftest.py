"""Tests marked `slurm` need the test cluster that SLURM_CONF names, and never touch another one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm
from slurm_cluster import is_test_cluster

from issbench.bench.launching.retry import Retry
from issbench.slurm import ask as asking
from issbench.slurm import sbatch


@pytest.fixture(autouse=True)
def _test_cluster_only(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("slurm") is None:
        return
    conf = os.environ.get("SLURM_CONF")
    if conf is None:
        pytest.skip('no Slurm; start one as root: eval "$(python tests/support/slurm_cluster start)"')
    if not is_test_cluster(Path(conf)):
        pytest.skip(f"{conf} is no test cluster, which these tests would disturb")


def ask(*command: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    """Wait until `condition` is true; fail after `seconds`, with Slurm's queue as it is then, if there is one."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "SLURM_CONF" in os.environ and ask("squeue", "--states=all")
        time.sleep(0.1)


@pytest.fixture(name="ask")
def _ask() -> Callable[..., str]:
    return ask


@pytest.fixture(name="wait_for")
def _wait_for() -> Callable[..., None]:
    return wait_for


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A made-up Slurm that takes jobs, without pauses between questions; commands are given beside it."""
    import three_runs  # needs torch

    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", str(fake.place / "bin"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asking, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(Retry, "plans", lambda retry, device: three_runs.plans(retry.runs))
    return fake


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of Slurm are given two seconds."""
    monkeypatch.setattr(asking, "PATIENCE", 2.0)
    monkeypatch.setattr(sbatch, "PATIENCE", 2.0)
