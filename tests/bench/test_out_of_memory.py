"""Work that runs out of memory ends with what it asked for, what is there and what to lower, and ends alone."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
from commands import bench, command
from small_folder import RECIPE, small_folder

from issbench.bench.engine import memory
from issbench.bench.engine.training import StepTrainer
from issbench.errors import RunError

CPU = torch.device("cpu")


RAN_OUT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15 GiB"),
    MemoryError(),
    MemoryError("Unable to allocate 4.00 TiB for an array with shape (9, 9)"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096000000 bytes."),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


@pytest.mark.parametrize("error", RAN_OUT)
def test_every_kind_of_it_is_told(error: Exception) -> None:
    with (
        pytest.raises(RunError, match=r"^the test of step 3 needs more memory than there is: it asked for") as info,
        memory.memory_told("the test of step 3", CPU),
    ):
        raise error
    told = str(info.value)
    assert "are available; lower the batch (--set batch=…)" in told
    assert ("allocate" in str(error)) == any(amount in told for amount in ("2.50 GiB", "4.00 TiB", "4.1 GB"))


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes differ") as info, memory.memory_told("x", CPU):
        raise RuntimeError("shapes differ")
    assert not isinstance(info.value, RunError)


def test_what_the_failed_work_held_is_released() -> None:
    class Held:
        pass

    def work() -> None:
        held = Held()
        alive.append(weakref.ref(held))
        torch.empty(2**60, dtype=torch.uint8)

    alive: list[weakref.ref[Held]] = []
    with pytest.raises(RunError, match=r"asked for 1,152,921,504\.6 GB more"), memory.memory_told("x", CPU):
        work()
    assert alive[0]() is None


# Through the command line


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("memory") / "data")


def words(data: Path, out: Path, methods: str) -> list[object]:
    settings = RECIPE | {"batch": 20}  # more than there are images, which is no fault
    chosen = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    asked = ["run", "--methods", methods, "--scenario", "folder_2-1", "--data", data, "--out", out, *chosen]
    return [*asked, "--workers", "0", "--device", "cpu"]


def run_out(*_: object) -> None:
    torch.empty(2**60, dtype=torch.uint8)  # refused by the system at once


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("finished")
    bench(*words(data, out, "ft"))
    return next((out / "runs").iterdir())


def test_a_run_that_runs_out_of_memory_does_not_stop_the_others(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = StepTrainer.run

    def greedy(self: StepTrainer, every: float) -> None:
        if self.step.method == "mib":
            run_out()
        train(self, every)

    asked = words(data, tmp_path / "out", "mib,ft")
    monkeypatch.setattr(StepTrainer, "run", greedy)
    done = command(*asked)
    assert done.returncode == 1 and "FT" in done.stdout
    assert "1 of 2 runs failed" in done.stderr and "the training of step 1 needs more memory" in done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.undo()
    assert "MiB" in bench(*asked)  # with room again, the same command completes it


@pytest.mark.parametrize(
    ("place", "doing"),
    [
        ("_best", "the prediction of 40 × 40 pixels needs more memory"),
        ("frozen", "needs more memory than there is"),  # the step is not at fault, and not to be removed
    ],
)
def test_a_prediction_that_runs_out_of_memory(
    place: str, doing: str, finished: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"issbench.bench.engine.predict.{place}", run_out)
    asked = ["predict", finished, data / "images" / "0.png", "--output", tmp_path / "masks", "--device", "cpu"]
    told = bench(*asked, code=1)
    assert doing in told and "try --device cpu" in told and "remove" not in told
    assert not list(tmp_path.glob("masks/*.png"))


def test_a_picture_of_predictions_that_runs_out_of_memory(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("issbench.bench.engine.predict.Predictor._output", run_out)
    asked = ["figure", "predictions", "--out", finished.parents[1], "--device", "cpu"]
    told = bench(*asked, "--output", tmp_path / "a.png", code=1)
    assert "the prediction of 1 × 32 × 32 pixels needs more memory" in told
    assert not (tmp_path / "a.png").exists()
