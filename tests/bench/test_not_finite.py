"""NaN and infinity end a step where they arise: the cause is told, and nothing of them is ever kept or resumed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import bench, command
from safetensors.torch import load_file
from small_folder import RECIPE, small_folder
from torch import Tensor

from issbench import Experiment, run
from issbench.bench.engine.plan import make_plans
from issbench.bench.engine.store import Store
from issbench.bench.outcome import read_outcome
from issbench.errors import RunError
from issbench.files import read_sealed
from issbench.methods.method import Batch, Method

SETTINGS = RECIPE | {"epochs": 3}  # of 4 iterations, or 3 in the second step
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
Loss = Callable[[Method, Batch], dict[str, Tensor]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a run without a fault."""
    out = tmp_path_factory.mktemp("whole")
    carry_out(data, out)
    return out


@pytest.fixture
def out(data: Path, whole: Path, tmp_path: Path) -> Path:
    """A store with the first step alone."""
    made = tmp_path / "out"
    shutil.copytree(whole, made, ignore=shutil.ignore_patterns("runs", second_step(data).key))
    return made


def experiment(data: Path) -> Experiment:
    return Experiment("ft", "folder_2-1", data=data, recipe=SETTINGS)


def carry_out(data: Path, out: Path, device: str = "cpu", every: float = 0.0) -> None:
    run(experiment(data), out=out, device=device, workers=0, checkpoint_every=every)


def weights(out: Path) -> list[bytes]:
    record = read_sealed(next(out.glob("runs/*/run.json")))
    return [(out / "steps" / step["key"] / "weights.safetensors").read_bytes() for step in record["steps"]]


def second_step(data: Path, device: str = "cpu") -> Any:
    return make_plans([experiment(data)], torch.device(device))[0].steps[1]


def images_of(data: Path, iteration: int, device: str = "cpu") -> str:
    """The images of an iteration of the second step, counted from 1, as a message names them."""
    step = second_step(data, device)
    return ", ".join(dict.fromkeys(step.train_ids[row] for _, row in step.order[iteration - 1]))


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """Makes a term, or only its gradient, something else in an iteration of the second step."""

    def breaks(iteration: int, how: str) -> None:
        sound, seen = Method.loss, list[int]()

        def loss(self: Method, batch: Batch) -> dict[str, Tensor]:
            terms = sound(self, batch)
            seen.extend([1] * self.step.index)
            if self.step.index == 1 and len(seen) == iteration:
                nothing = batch.student.low_logits.sum() * 0
                terms["odd"] = nothing.sqrt() if how == "gradient" else nothing + float(how)
            return terms

        monkeypatch.setattr(Method, "loss", loss)

    return breaks


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("how", "iteration"), [("nan", 2), ("-inf", 1)])
def test_a_term_that_is_not_finite(
    data: Path, out: Path, breaks: Callable[..., None], how: str, iteration: int, device: str
) -> None:
    breaks(iteration, how)
    where = f"iteration {iteration} of 9 of step 1, whose images are {images_of(data, iteration, device)}; lower"
    with pytest.raises(RunError, match=f"the term odd of ft became {how} in {where}") as error:
        carry_out(data, out, device, every=60)
    kept = Path(str(error.value).rpartition(" ")[2])
    assert kept == out / "steps" / f"{second_step(data, device).key}.failed.safetensors"
    state = load_file(kept)
    assert "student.classifier.1.weight" in state
    assert device != "cpu" or all(value.isfinite().all() for value in state.values()), "as it was before the update"


@pytest.mark.parametrize(("iteration", "every"), [(5, 0.0), (5, 60.0), (9, 60.0)])
def test_a_gradient_that_is_not_finite_though_the_loss_is(
    data: Path, out: Path, breaks: Callable[..., None], every: float, iteration: int
) -> None:
    """It is found at the next loss, at the next checkpoint, or at the end of the step."""
    breaks(iteration, "gradient")
    where = f"iteration {iteration} of 9 of step 1, whose images are {images_of(data, iteration)};"
    with pytest.raises(RunError, match=r"student\.\S+ .*(NaN or infinite in|is not finite after) " + where):
        carry_out(data, out, every=every)
    step = second_step(data)
    assert not Store(out).has_step(step.key)
    assert_sound_checkpoint(out, step.key, iteration - 1 if every == 0 else None)


def assert_sound_checkpoint(out: Path, key: str, iteration: int | None) -> None:
    """The last checkpoint is of this iteration and finite; None: there is none."""
    state = Store(out).load_checkpoint(key, 9)
    assert (state["iteration"] if state else None) == (iteration or None)
    assert state is None or all(value.isfinite().all() for value in state["student"].values())


def test_the_state_before_is_kept_and_resumed(
    data: Path, whole: Path, out: Path, breaks: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Method.loss
    breaks(5, "nan")
    words = ["run", "--methods", "ft", "--scenario", "folder_2-1", "--data", data, "--out", out]
    words += ["--workers", 0, "--device", "cpu", "--checkpoint-every", 0]
    words += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    done = command(*words)
    assert done.returncode == 1 and "the term odd of ft became nan in iteration 5 of 9" in done.stderr
    key = second_step(data).key
    assert_sound_checkpoint(out, key, 4)
    outcome = read_outcome(next(out.glob("runs/*/outcome.json")))
    assert outcome is not None and outcome.state == "failed" and outcome.reason in done.stderr
    status = bench("status", "--out", out)
    assert "1 failed" in status and "became nan in iteration 5 of 9 of step 1" in status
    breaks(1, "nan")  # the next one: with the fifth iteration it goes on
    assert "became nan in iteration 5 of 9" in bench(*words, code=1)
    monkeypatch.setattr(Method, "loss", sound)
    assert "resuming at iteration 4 of 9" in bench(*words)
    assert weights(out) == weights(whole)
    assert not [*out.glob("steps/*.failed.*"), *out.glob("steps/*.checkpoint")]


@pytest.mark.parametrize("place", ["student", "optimizer", "sums"])
def test_a_checkpoint_that_is_not_finite_is_set_aside(data: Path, whole: Path, out: Path, place: str) -> None:
    """Such as an older version left."""
    step = second_step(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("issbench.bench.engine.interruption.Interruption.requested", True)
        patch.setattr("issbench.bench.engine.interruption.Interruption.check", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            carry_out(data, out)
    store = Store(out)
    state = store.load_checkpoint(step.key, 9)
    assert state is not None and state["iteration"] == 1
    tensors = {
        "student": state["student"]["classifier.0.bias"],
        "optimizer": state["optimizer"]["state"][0]["momentum_buffer"],
        "sums": state["sums"]["classification"],
    }
    tensors[place][(0,) * tensors[place].dim()] = torch.nan
    store.save_checkpoint(step.key, state)
    carry_out(data, out)
    (aside,) = out.glob("steps/*.checkpoint.damaged-1")
    log = next(out.glob("runs/*/log.txt")).read_text()
    assert f"has NaN or infinity in {place}." in log and f"set aside as {aside.name}" in log
    assert weights(out) == weights(whole)


def test_a_finished_step_that_is_not_finite_is_computed_anew(data: Path, whole: Path, out: Path) -> None:
    first = read_sealed(next(whole.glob("runs/*/run.json")))["steps"][0]["key"]
    store = Store(out)
    network, state, training = store.load_weights(first), store.load_state(first), store.load_training(first)
    network["aspp.convs.0.0.weight"][0, 3] = torch.inf
    shutil.rmtree(out / "steps" / first)
    store.save_step(first, {}, training, network, state)
    carry_out(data, out)
    assert (out / "steps" / f"{first}.damaged-1").is_dir()
    log = next(out.glob("runs/*/log.txt")).read_text()
    assert "has NaN or infinity in aspp.convs.0.0.weight; the step was set aside" in log
    assert weights(out) == weights(whole)
