"""Whatever happens to a file of the store: it is not used, it is named and kept, and the result is the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import bench
from listed_folder import listed_folder
from plug_in import installed
from small_folder import RECIPE

from issbench import Experiment, run
from issbench.bench.engine.interruption import Interruption
from issbench.bench.engine.store import Store
from issbench.bench.engine.training import StepTrainer
from issbench.errors import RunError
from issbench.files import read_json, read_sealed, write_sealed
from issbench.results.record import Record

METHODS = ("gsc", "ewc")  # the second one keeps a state after the first step


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed_folder(tmp_path_factory.mktemp("data") / "folder")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two runs that share their first step."""
    out = tmp_path_factory.mktemp("store")
    carry_out(data, out)
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A copy of that store."""
    return Path(shutil.copytree(whole, tmp_path / "out"))


def carry_out(data: Path, out: Path, *methods: str) -> list[Record]:
    asked = [Experiment(method, "folder_1-1", data=data, recipe=RECIPE) for method in methods or METHODS]
    return run(asked, out=out, device="cpu", workers=0)


def facts(out: Path) -> dict[str, Any]:
    """All that a run's result is, by method: no times, no paths."""
    found = {}
    for path in (out / "runs").glob("*/run.json"):
        record = read_sealed(path, path.parent.name)
        steps = [(step["key"], step["metrics"], step["counts"], step["evaluations"]) for step in record["steps"]]
        history = [step["training"]["history"] for step in record["steps"]]
        tensors = [(out / "steps" / s["key"] / f).read_bytes() for s in record["steps"] for f in FILES]
        counts = [
            (out / each["images"]).read_bytes() for s in record["steps"] for each in s["evaluations"].values()
        ]
        found[record["experiment"]["method"]] = steps, history, tensors, counts, record["metrics"]
    return found


FILES = ("weights.safetensors", "method.safetensors")


def table(out: Path) -> str:
    return bench("table", "--out", out, "--format", "csv")


def log(out: Path, method: str = "gsc") -> str:
    (path,) = (out / "runs").glob(f"*-{method}-*/log.txt")
    return path.read_text(encoding="utf-8")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def steps_of(out: Path, method: str = "gsc") -> list[Path]:
    (path,) = (out / "runs").glob(f"*-{method}-*/run.json")
    return [out / "steps" / step["key"] for step in read_sealed(path)["steps"]]


def forget(out: Path, *steps: Path) -> None:
    """What was computed from a step that is damaged is missing, so that the step is read again."""
    for step in steps:
        shutil.rmtree(step)


def foreign(path: Path) -> None:
    """The same file of another step."""
    others = (each for each in path.parent.parent.glob(f"[!.]*/{path.name}") if each.parent != path.parent)
    path.write_bytes(next(each for each in others if each.read_bytes() != path.read_bytes()).read_bytes())


damages = pytest.mark.parametrize("damage", [flip, cut, foreign])


@damages
@pytest.mark.parametrize(
    ("step", "name"),
    [(0, "weights.safetensors"), (1, "weights.safetensors"), (1, "method.safetensors"), (1, "seal.json")],
)
def test_a_damaged_step_is_trained_anew(
    data: Path, whole: Path, out: Path, step: int, name: str, damage: Callable[[Path], None]
) -> None:
    before, printed = facts(out), table(out)
    steps = steps_of(out)
    damage(steps[step] / name)
    forget(out, steps[step + 1])
    carry_out(data, out, "gsc")
    aside = steps[step].with_name(f"{steps[step].name}.damaged-1")
    assert aside.is_dir() and not aside.with_name(f"{steps[step].name}.damaged-2").exists()
    told = log(out)
    assert name in told and f"set aside as {aside.name}, and is computed anew" in told
    if step > 0:  # what another method drew from the first step went aside with that
        assert facts(out) == before
    carry_out(data, out)
    assert facts(out) == before and table(out) == printed


@damages
def test_a_damaged_record_of_the_training_is_trained_anew(
    data: Path, out: Path, damage: Callable[[Path], None]
) -> None:
    before = facts(out)
    step = steps_of(out)[2]
    damage(step / "training.json")
    (record,) = (out / "runs").glob("*-gsc-*/run.json")
    record.unlink()
    carry_out(data, out)
    assert step.with_name(f"{step.name}.damaged-1").is_dir() and "training.json" in log(out)
    assert facts(out) == before


@damages
@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_damaged_evaluation_is_made_anew_without_training(
    data: Path, out: Path, suffix: str, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, printed = facts(out), table(out)
    (path,) = steps_of(out)[2].glob(f"evaluation-*{suffix}")
    if damage is foreign:
        (other,) = steps_of(out)[0].glob(f"evaluation-*{suffix}")
        path.write_bytes(other.read_bytes())
    else:
        damage(path)
    (record,) = (out / "runs").glob("*-gsc-*/run.json")
    record.unlink()
    with monkeypatch.context() as patch:
        patch.delattr(StepTrainer, "run")
        carry_out(data, out)
    assert path.with_name(f"{path.name}.damaged-1").is_file()
    assert f"{path.name} " in log(out) and f"set aside as {path.name}.damaged-1" in log(out)
    assert facts(out) == before and table(out) == printed


@damages
@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_damaged_state_after_the_first_step_is_drawn_anew(
    data: Path, out: Path, suffix: str, damage: Callable[[Path], None]
) -> None:
    before = facts(out)
    steps = steps_of(out, "ewc")
    (path,) = steps[0].glob(f"state-*{suffix}")
    if damage is foreign:
        path.write_bytes((steps[1] / ("training.json" if suffix == ".json" else "method.safetensors")).read_bytes())
    else:
        damage(path)
    forget(out, steps[1])
    carry_out(data, out)
    assert path.with_name(f"{path.name}.damaged-1").is_file() and f"{path.name} " in log(out, "ewc")
    assert facts(out) == before


def interrupted(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store whose last step of gsc is interrupted; returns the checkpoint."""
    last = steps_of(out)[2]
    shutil.rmtree(last)
    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "requested", True)
        patch.setattr(Interruption, "check", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            carry_out(data, out, "gsc")
    path = last.with_name(f"{last.name}.checkpoint")
    assert path.is_file()
    return path


@pytest.mark.parametrize("damage", [flip, cut, "foreign", "impossible"])
def test_a_damaged_checkpoint_is_not_resumed(
    data: Path, out: Path, damage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = facts(out)
    path = interrupted(data, out, monkeypatch)
    key = path.name.removesuffix(".checkpoint")
    store = Store(out)
    state = store.load_checkpoint(key, 9)
    assert state is not None and state["iteration"] == 1
    if damage == "foreign":
        store.save_checkpoint("0123", state)
        store.checkpoint_path("0123").replace(path)
    elif damage == "impossible":
        store.save_checkpoint(key, state | {"iteration": 7})
    else:
        damage(path)
    carry_out(data, out)
    assert path.with_name(f"{path.name}.damaged-1").is_file() and not path.exists()
    assert f"{path.name} " in log(out) and "resuming" not in log(out)
    assert facts(out) == before


def test_a_whole_checkpoint_is_resumed(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = facts(out)
    interrupted(data, out, monkeypatch)
    carry_out(data, out)
    assert "resuming at iteration 1 of 1" in log(out) and facts(out) == before


@pytest.mark.parametrize("damage", [flip, cut, foreign])
@pytest.mark.parametrize("name", ["run.json", "plan.json"])
def test_a_damaged_record_is_written_anew_without_training(
    data: Path, out: Path, name: str, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, printed = facts(out), table(out)
    (path,) = (out / "runs").glob(f"*-gsc-*/{name}")
    damage(path)
    with monkeypatch.context() as patch:
        patch.delattr(StepTrainer, "run")
        carry_out(data, out)
    if name == "run.json":  # the other one is not used as soon as anything about it is odd
        assert path.with_name("run.json.damaged-1").is_file() and "run.json.damaged-1" in log(out)
    assert read_sealed(path, path.parent.name)
    assert facts(out) == before and table(out) == printed


@pytest.mark.parametrize(
    "change",
    [{"steps": [["a", []], ["b", "c"]]}, {"steps": 1}, {"steps": [["a"]]}, {"files": {"\0": "a"}}, {"files": []}],
)
def test_what_planning_found_is_not_used_where_it_is_not_what_it_should_be(
    data: Path, out: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = facts(out)
    (path,) = (out / "runs").glob("*-gsc-*/plan.json")
    whole = read_sealed(path, path.parent.name)
    write_sealed(path, whole | change, path.parent.name)
    with monkeypatch.context() as patch:
        patch.delattr(StepTrainer, "run")
        carry_out(data, out)
    assert read_sealed(path, path.parent.name) == whole and facts(out) == before


@damages
def test_a_damaged_identity_is_refused(out: Path, data: Path, damage: Callable[[Path], None]) -> None:
    """It is read where a network is used alone; what it says cannot be computed from anything else."""
    step = steps_of(out)[2]
    damage(step / "identity.json")
    message = bench("predict", step, data / "images" / "a.png", "--output", out / "made", code=2)
    assert "identity.json" in message and "remove it and run again" in message
    shutil.rmtree(step)
    carry_out(data, out)
    assert "wrote" in bench("predict", step, data / "images" / "a.png", "--output", out / "made")


METHOD = """
    from issbench.methods.method import Method

    class Mine(Method):
        name = "mine"
        title = "Mine"

        def terms(self, batch, targets):
            assert self.step.index < LUCKY
            return {"mine": WEIGHT * batch.student.features.square().mean()}
"""


def test_a_complete_record_stays_until_there_is_another(data: Path, tmp_path: Path) -> None:
    """The method was edited, and its training fails: the old result stays beside what there is."""
    out = tmp_path / "out"

    def edited(weight: float, lucky: int) -> str:
        return METHOD.replace("WEIGHT", str(weight)).replace("LUCKY", str(lucky))

    with installed(tmp_path / "site", "mine", "Mine", edited(0.5, 3)) as write:
        carry_out(data, out, "mine")
        (folder,) = (out / "runs").iterdir()
        before = read_sealed(folder / "run.json")
        write(edited(0.7, 2))
        with pytest.raises(RunError, match="AssertionError"):
            carry_out(data, out, "mine")
        assert read_sealed(folder / "run.json") == before
        unfinished = read_sealed(folder / "unfinished.json", folder.name)
        assert len(unfinished["steps"]) == 2 and not unfinished["complete"]
        assert read_json(folder / "outcome.json")["state"] == "failed"
        write(edited(0.7, 3))
        carry_out(data, out, "mine")
        after = read_sealed(folder / "run.json")
    assert after["complete"] and not (folder / "unfinished.json").exists()
    keys = [[step["key"] for step in record["steps"]] for record in (before, after)]
    assert [one == other for one, other in zip(*keys, strict=True)] == [True, False, False]
