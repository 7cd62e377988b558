"""Several processes train together what one would, whatever the method."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from method_examples import METHODS
from safetensors.torch import load_file
from small_folder import RECIPE, small_folder
from torch import Tensor

from issbench import Experiment, run
from issbench.bench.engine import distributed
from issbench.bench.engine.store import Store
from issbench.bench.outcome import read_outcome
from issbench.errors import UsageError
from issbench.files import read_json

CALM = RECIPE | {"lr": 0.002}
"""With the rate of 0.02 the distillation of ILT doubles a difference several times in an iteration."""
LONG = {"epochs": 12, "lr": 0.0005}
WORK = """
import json, sys
from issbench import Experiment, run
out, experiments = sys.argv[1], json.loads(sys.argv[2])
run([Experiment(**each) for each in experiments], out=out, device="cpu", workers=0, checkpoint_every=%s)
"""


def described(root: Path, methods: tuple[str, ...] | list[str], **recipe: object) -> list[dict[str, object]]:
    common = {"scenario": "folder_2-1", "data": str(root), "recipe": CALM | recipe}
    return [{"method": method, **common} for method in methods]


def together(
    count: int, out: Path, experiments: list[dict[str, object]], script: Path, every: float = 60
) -> subprocess.Popen[str]:
    """Start `count` processes as `torchrun` does."""
    script.write_text(WORK % every)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return subprocess.Popen(
        [*command, str(script), str(out), json.dumps(experiments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    text = process.communicate(timeout=600)[0]
    assert process.returncode == 0, text
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of one process that ran every method."""
    out = tmp_path_factory.mktemp("alone")
    experiments = [*described(folder, METHODS), *described(folder, ["gsc:sg=off"], **LONG)]
    run([Experiment(**each) for each in experiments], out=out, device="cpu", workers=0)
    return out


def keys(out: Path) -> dict[str, list[str]]:
    """The keys of each run's steps, by the method."""
    records = [read_json(path) for path in (out / "runs").glob("*/run.json")]
    return {record["experiment"]["method"]: [step["key"] for step in record["steps"]] for record in records}


def with_first_step(alone: Path, out: Path) -> Path:
    """A store that has the first steps already, so that all differences come from the second ones."""
    Store(out)
    for first in {steps[0] for steps in keys(alone).values()}:
        shutil.copytree(alone / "steps" / first, out / "steps" / first, ignore=shutil.ignore_patterns("state-*"))
    return out


def weights(step: Path) -> dict[str, Tensor]:
    """Of a step's network, without its counters of batches."""
    tensors = load_file(step / "weights.safetensors")
    return {name: value.double() for name, value in tensors.items() if value.is_floating_point()}


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> Tensor:
    return torch.stack([(value - other.get(name, 0)).norm() for name, value in one.items()]).norm()


def assert_same_step(one: Path, other: Path, first: Path) -> None:
    """The step moved the network in the same way, and the method and the test saw the same."""
    assert distance(weights(one), weights(other)) < 1e-4 * distance(weights(one), weights(first))
    states = [load_file(step / "method.safetensors") for step in (one, other)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():  # PI divides rounded differences by each other; others agree to 1e-4
        assert (states[1][name].double() - value.double()).norm() <= 1e-2 * value.double().norm(), name
    (counts,) = one.glob("evaluation-*.npz")
    mine, others = (np.stack(images(step / counts.name)) for step in (one, other))
    assert np.array_equal(
        mine[:, [0, 2]].sum(axis=1), others[:, [0, 2]].sum(axis=1)
    )  # labelled pixels of each class
    assert abs(mine - others).sum() <= 0.002 * mine.sum()  # a pixel at a border may change sides


def images(path: Path) -> list[np.ndarray]:
    """The counts of each image, as entries for (kind, class)."""
    with np.load(path) as packed:
        sizes, classes = packed["entries"], packed["classes"]
        counts = np.zeros((len(sizes), 3, int(packed["shape"][1])), np.int64)
        row = np.repeat(np.arange(len(sizes)), sizes)
        for kind, name in enumerate(("tp", "fp", "fn")):
            counts[row, kind, classes] = packed[name]
    return list(counts)


@pytest.fixture(scope="module")
def both(alone: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of two processes that ran every method after the same first step."""
    out = with_first_step(alone, tmp_path_factory.mktemp("both"))
    finish(together(2, out, described(folder, METHODS), out / "work.py"))
    return out


@pytest.mark.parametrize("method", [name for name in METHODS if name != "joint"])
def test_two_processes_do_the_same_as_one(alone: Path, both: Path, method: str) -> None:
    first, second = keys(alone)[method]
    assert keys(both)[method] == [first, second]
    assert read_json(both / "steps" / second / "training.json")["processes"] == 2
    assert_same_step(*(out / "steps" / second for out in (alone, both)), alone / "steps" / first)


def test_joint_training_by_two_processes(alone: Path, both: Path) -> None:
    """It starts afresh at its only other step, so the distance is to nothing."""
    last = keys(alone)["joint"][-1]
    one, other = (weights(out / "steps" / last) for out in (alone, both))
    assert distance(one, other) < 1e-4 * distance(one, {})


def test_processes_with_unequal_parts_of_a_batch(alone: Path, folder: Path, tmp_path: Path) -> None:
    """A batch of 4 images for 3 processes, and at the end of a pass fewer images than processes."""
    out = with_first_step(alone, tmp_path / "runs")
    methods = ["gsc", "sdr", "ewc", "mib+contrast"]
    finish(together(3, out, described(folder, methods), tmp_path / "work.py"))
    for method in methods:
        first, second = keys(alone)[method]
        assert keys(out)[method] == [first, second]
        assert_same_step(*(store / "steps" / second for store in (alone, out)), alone / "steps" / first)


def test_all_processes_stop_together_and_one_goes_on_where_they_stopped(
    alone: Path, folder: Path, tmp_path: Path
) -> None:
    out = with_first_step(alone, tmp_path / "runs")
    experiments = described(folder, ["gsc:sg=off"], **LONG)
    first, second = keys(alone)["gsc:sg=off"]
    checkpoint = out / "steps" / f"{second}.checkpoint"
    process = together(2, out, experiments, tmp_path / "work.py", every=0)
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    assert process.returncode != 0
    state = Store(out).load_checkpoint(second, 36)
    assert state is not None and 0 < state["iteration"] < 36, "12 epochs of 3 batches"
    assert read_outcome(next(out.glob("runs/*/outcome.json"))).state == "interrupted"
    run([Experiment(**each) for each in experiments], out=out, device="cpu", workers=0)
    assert read_json(out / "steps" / second / "training.json")["processes"] == 1
    assert_same_step(*(store / "steps" / second for store in (alone, out)), alone / "steps" / first)


def test_the_process_that_fails_says_why(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them meets an image that is broken while they train; the others end because it does."""
    (tmp_path / "no folder").touch()
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path / "no folder"))  # so that each epoch reads the files again
    data, out = Path(shutil.copytree(folder, tmp_path / "data")), tmp_path / "runs"
    broken, half = data / "images" / "4.png", tmp_path / "half.png"
    half.write_bytes(broken.read_bytes()[:100])
    process = together(2, out, described(data, ["ft"], first_epochs=1000), tmp_path / "work.py", every=0)
    while not list(out.glob("steps/*.checkpoint")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    half.replace(broken)
    text = process.communicate(timeout=600)[0]
    assert process.returncode != 0 and f"{broken} is not a readable image" in text
    outcome = read_outcome(next(out.glob("runs/*/outcome.json")))
    assert outcome is not None and outcome.state == "failed"
    assert outcome.reason.startswith(f"{broken} is not a readable image")
    (failure,) = out.glob("steps/*.failed.json")
    assert read_json(failure)["reason"] == outcome.reason


def test_a_batch_that_cannot_be_split(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 5)
    with pytest.raises(UsageError, match="a batch of 4 images cannot be split among 5 processes; start fewer"):
        run([Experiment(**each) for each in described(folder, ["ft"])], out=tmp_path, device="cpu", workers=0)
