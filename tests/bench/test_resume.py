"""Interrupted commands resume and end with the bits of an uninterrupted one."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import bench
from small_folder import RECIPE, small_folder

from issbench.bench.outcome import read_outcome
from issbench.files import read_sealed

LONG = RECIPE | {"first_epochs": 20, "epochs": 10}
"""Steps of some seconds, so that one can be met while it trains."""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data"))


def command_of(method: str, data: Path) -> list[str]:
    """The command, without its store."""
    settings = [word for key, value in LONG.items() for word in ("--set", f"{key}={value}")]
    where = ["--scenario", "folder_2-1", "--data", str(data), "--device", "cpu", "--workers", "0"]
    return ["run", "--methods", method, *where, *settings]


@pytest.fixture(scope="module")
def words(data) -> list[str]:
    return command_of("gsc", data)


@pytest.fixture(scope="module")
def start(words):
    """Starts the command in a process of its own, which can be stopped."""

    def start(out: Path, checkpoint_every: float = 60.0, words: list[str] = words) -> subprocess.Popen:
        command = [sys.executable, "-m", "issbench", *words, "--out", str(out)]
        command += ["--checkpoint-every", str(checkpoint_every)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return start


def finish(process: subprocess.Popen) -> str:
    text = process.communicate(timeout=600)[0]
    assert process.returncode == 0, text
    return text


def result(out: Path) -> list[tuple]:
    """Metrics, loss history and the very bytes of the weights of each step."""
    (path,) = (out / "runs").glob("*/run.json")
    record = read_sealed(path, path.parent.name)
    assert record["complete"]
    return [
        (
            s["counts"],
            s["training"]["history"],
            (out / "steps" / s["key"] / "weights.safetensors").read_bytes(),
        )
        for s in record["steps"]
    ]


def state(out: Path) -> str:
    """What the run's outcome says."""
    (path,) = (out / "runs").glob("*/outcome.json")
    return read_outcome(path).state


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def finished(words, tmp_path_factory) -> Path:
    """The store of a command that nothing interrupted."""
    out = tmp_path_factory.mktemp("finished")
    bench(*words, "--out", out)
    return out


@pytest.fixture(scope="module")
def uninterrupted(finished) -> list[tuple]:
    return result(finished)


def finished_steps(out: Path) -> int:
    return len(list((out / "steps").glob("[!.]*/training.json")))


def checkpoints(out: Path) -> list[Path]:
    """Of unfinished steps: that of a step just finished is removed a moment after its result appears."""
    return [path for path in (out / "steps").glob("*.checkpoint") if not path.with_suffix("").exists()]


def test_kill_9_in_both_steps(tmp_path, start, words, uninterrupted):
    for steps in (0, 1):
        process = start(tmp_path, checkpoint_every=0)
        wait_for(lambda steps=steps: finished_steps(tmp_path) == steps and checkpoints(tmp_path), process)
        time.sleep(0.1)  # some iterations further, whatever is being written just now
        process.kill()
        process.communicate()
        assert finished_steps(tmp_path) == steps and state(tmp_path) == "running"
    assert "resuming at iteration" in bench(*words, "--out", tmp_path)
    assert result(tmp_path) == uninterrupted and state(tmp_path) == "done"
    left = [path.name for path in (tmp_path / "steps").iterdir() if path.suffix != ".lock"]
    assert len(left) == 2, "the checkpoint and half-written files are gone"


@pytest.mark.parametrize("method", ["ssul-m", "star", "mib+nest+ewf"])
def test_kill_9_of_a_method_with_more_than_a_loss(tmp_path, start, data, method):
    """A memory and a head; a head, state and noise; classifiers that are trained before the step, and weights that
    are fused after it."""
    words, out = command_of(method, data), tmp_path / "killed"
    process = start(out, checkpoint_every=0, words=words)
    wait_for(lambda: finished_steps(out) == 1 and checkpoints(out), process)
    time.sleep(0.1)
    process.kill()
    process.communicate()
    assert finished_steps(out) == 1
    assert "resuming at iteration" in bench(*words, "--out", out)
    bench(*words, "--out", tmp_path / "whole")
    assert result(out) == result(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signal_saves_a_checkpoint(tmp_path, start, words, uninterrupted, number):
    process = start(tmp_path, checkpoint_every=0.2)
    wait_for(lambda: checkpoints(tmp_path), process)
    before = checkpoints(tmp_path)[0].stat().st_ino
    process.send_signal(number)
    text = process.communicate(timeout=600)[0]
    assert process.returncode == 128 + number
    assert "interrupted" in text and "Traceback" not in text and state(tmp_path) == "interrupted"
    assert checkpoints(tmp_path)[0].stat().st_ino != before, "the signal itself must have saved the state"
    assert "resuming at iteration" in bench(*words, "--out", tmp_path)
    assert result(tmp_path) == uninterrupted


def test_two_processes_share_the_work(tmp_path, start, uninterrupted):
    first = start(tmp_path, checkpoint_every=0)
    wait_for(lambda: checkpoints(tmp_path), first)
    first.send_signal(signal.SIGSTOP)  # until the other one has met its lock, however slow the machine is
    second = start(tmp_path)
    waiting = "another process computes this step; waiting for it"
    wait_for(lambda: any(waiting in path.read_text() for path in tmp_path.glob("runs/*/log.txt")), second)
    first.send_signal(signal.SIGCONT)
    texts = [finish(process) for process in (first, second)]
    assert waiting in texts[1] and "epoch 20/20" not in texts[1]
    assert sum(text.count("epoch 20/20") for text in texts) == sum(text.count("epoch 10/10") for text in texts) == 1
    assert result(tmp_path) == uninterrupted


def test_finished_command_prints_the_table_at_once(words, finished):
    before = {path: path.stat().st_mtime_ns for path in (finished / "steps").rglob("*") if path.is_file()}
    text = bench(*words, "--out", finished)
    assert "epoch 10/10" not in text and "GSC" in text
    after = {path: path.stat().st_mtime_ns for path in (finished / "steps").rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if p.suffix != ".lock"} == {
        p: t for p, t in before.items() if p.suffix != ".lock"
    }
