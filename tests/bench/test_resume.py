"""Interrupted commands resume and end with the bits of an uninterrupted one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_folder import RECIPE, small_folder

from issbench.bench.outcome import read_outcome
from issbench.files import read_sealed

LONG = RECIPE | {"first_epochs": 12, "epochs": 12}
SETTINGS = [word for key, value in LONG.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "folder")


def start(data: Path, out: Path, checkpoint_every: float = 60.0) -> subprocess.Popen[str]:
    command = ["run", "--methods", "gsc", "--scenario", "folder_2-1", "--data", data, "--device", "cpu"]
    command += [*SETTINGS, "--workers", 0, "--out", out, "--checkpoint-every", checkpoint_every]
    return subprocess.Popen(
        [sys.executable, "-m", "issbench", *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 0, text
    return text


def result(out: Path) -> list[tuple[object, ...]]:
    """Metrics, loss history and the very bytes of the weights of each step."""
    (path,) = (out / "runs").glob("*/run.json")
    record = read_sealed(path, path.parent.name)
    assert record["complete"]
    return [
        (s["counts"], s["training"]["history"], (out / "steps" / s["key"] / "weights.safetensors").read_bytes())
        for s in record["steps"]
    ]


def state(out: Path) -> str:
    """What the run's outcome says."""
    (path,) = (out / "runs").glob("*/outcome.json")
    outcome = read_outcome(path)
    assert outcome is not None
    return outcome.state


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    out = tmp_path_factory.mktemp("uninterrupted")
    finish(start(data, out))
    return result(out)


def finished_steps(out: Path) -> int:
    return len(list((out / "steps").glob("[!.]*/training.json")))


def checkpoints(out: Path) -> list[Path]:
    """Of unfinished steps: that of a step just finished is removed a moment after its result appears."""
    return [path for path in (out / "steps").glob("*.checkpoint") if not path.with_suffix("").exists()]


def test_kill_9_in_both_steps(data, tmp_path, uninterrupted):
    for steps in (0, 1):
        process = start(data, tmp_path, checkpoint_every=0)
        wait_for(lambda steps=steps: finished_steps(tmp_path) == steps and checkpoints(tmp_path), process)
        time.sleep(0.1)  # some iterations further, whatever is being written just now
        process.kill()
        process.communicate()
        assert finished_steps(tmp_path) == steps and state(tmp_path) == "running"
    assert "resuming at iteration" in finish(start(data, tmp_path))
    assert result(tmp_path) == uninterrupted and state(tmp_path) == "done"
    left = [path.name for path in (tmp_path / "steps").iterdir() if path.suffix != ".lock"]
    assert len(left) == 2, "the checkpoint and half-written files are gone"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_a_checkpoint(data, tmp_path, uninterrupted, number):
    process = start(data, tmp_path, checkpoint_every=0.2)
    wait_for(lambda: checkpoints(tmp_path), process)
    before = checkpoints(tmp_path)[0].stat().st_ino
    process.send_signal(number)
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 130
    assert "interrupted" in text and "Traceback" not in text and state(tmp_path) == "interrupted"
    assert checkpoints(tmp_path)[0].stat().st_ino != before, "the signal itself must have saved the state"
    assert "resuming at iteration" in finish(start(data, tmp_path))
    assert result(tmp_path) == uninterrupted


def test_two_processes_share_the_work(data, tmp_path, uninterrupted):
    texts = [finish(process) for process in [start(data, tmp_path), start(data, tmp_path)]]
    assert result(tmp_path) == uninterrupted
    epochs = [sum("epoch 12/12" in line for line in text.splitlines()) for text in texts]
    assert sum(epochs) == 2, "each of the two steps is trained once"
    if all(epochs) or "all done" not in "".join(texts):  # the second process may be slow to start on a busy machine
        assert any("another process computes this step" in text for text in texts)
