"""A run that fails keeps its reason, does not stop the others, and is what the same command tries again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import command
from listed_folder import listed_folder
from small_folder import RECIPE

from issbench import Experiment, RunsFailed, run, sweep
from issbench.bench.engine.training import StepTrainer
from issbench.bench.outcome import read_outcome
from issbench.errors import RunError, UsageError
from issbench.files import read_sealed, write_sealed
from issbench.results.runs import load_runs

SETTINGS = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
NEEDS = "it needs step 0, which failed for another run: KeyError: 'lost'"
Step = tuple[int, str | None, int]


class Trainer:
    """The steps that were trained, as (index, method, seed); those that `broken` names fail."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.broken: dict[tuple[str | None, int], Exception] = {}


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made, train = Trainer(), StepTrainer.run

    def remember(self: StepTrainer, every: float) -> None:
        made.steps.append((self.step.index, self.step.method, self.step.seed))
        if error := made.broken.get((self.step.method, self.step.seed)):
            raise error
        train(self, every)

    monkeypatch.setattr(StepTrainer, "run", remember)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return listed_folder(tmp_path / "data")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def states(out: Path) -> dict[tuple[str, int], tuple[str, str]]:
    """State and reason of each run, by method and seed."""
    found = {}
    for folder in (out / "runs").iterdir():
        method, seed = folder.name.split("-")[3:5]
        outcome = read_outcome(folder / "outcome.json")
        assert outcome is not None and outcome.time > 0
        found[method, int(seed.removeprefix("seed"))] = (outcome.state, outcome.reason)
    return found


def failed_steps(out: Path) -> list[str]:
    paths = (out / "steps").glob("*.failed.json")
    return sorted(read_sealed(path, path.name.removesuffix(".failed.json"))["reason"] for path in paths)


def test_a_run_that_fails_does_not_stop_the_others(data: Path, out: Path, trainer: Trainer) -> None:
    trainer.broken.update({("mib", 0): RunError("the loss became nan"), (None, 1): KeyError("lost")})
    arguments = ["sweep", "--methods", "mib,ft", "--seeds", "0,1", "--scenarios", "folder_1-2", "--data", data]
    arguments += [*SETTINGS, "--out", out, "--workers", 0]
    done = command(*arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: 3 of 4 runs failed; the same command tries them again, and only them",
        "  mib folder_1-2 overlapped natural seed 0: the loss became nan",
        "  mib folder_1-2 overlapped natural seed 1: KeyError: 'lost'",
        f"  ft folder_1-2 overlapped natural seed 1: {NEEDS}",
    ]
    assert trainer.steps == [(0, None, 0), (1, "mib", 0), (1, "ft", 0), (0, None, 1)]  # no broken step twice
    assert "FT" in done.stdout and "MiB" not in done.stdout

    assert states(out) == {
        ("mib", 0): ("failed", "the loss became nan"),
        ("ft", 0): ("done", ""),
        ("mib", 1): ("failed", "KeyError: 'lost'"),
        ("ft", 1): ("failed", NEEDS),
    }
    assert failed_steps(out) == ["KeyError: 'lost'", "the loss became nan"]
    logs = {path.parent.name.split("-")[3]: path.read_text() for path in out.glob("runs/*seed1*/log.txt")}
    assert "Traceback" in logs["mib"] and f"failed: {NEEDS}" in logs["ft"]
    assert "Traceback" not in next(out.glob("runs/*mib-seed0*/log.txt")).read_text()  # the user can mend it

    trainer.broken.clear()
    trainer.steps.clear()
    again = command(*arguments)
    assert again.returncode == 0 and "1 done, 3 to do" in again.stdout
    assert trainer.steps == [(1, "mib", 0), (0, None, 1), (1, "mib", 1), (1, "ft", 1)]
    assert {*states(out).values()} == {("done", "")} and failed_steps(out) == []
    assert "4  all done" in command(*arguments).stdout and len(trainer.steps) == 4


def test_the_same_in_python(data: Path, out: Path, trainer: Trainer) -> None:
    trainer.broken[("mib", 0)] = RunError("the loss became nan")
    asked = [Experiment(name, "folder_1-2", data=data, recipe=RECIPE) for name in ("mib", "ft")]
    with pytest.raises(RunsFailed, match=r"1 of 2 runs failed; .*\n  mib folder_1-2 .* seed 0: .*nan") as info:
        run(asked, out=out, device="cpu", workers=0)
    assert isinstance(info.value, RunError) and info.value.exit_code == 1
    ((name, reason),) = info.value.failures.items()
    assert "-mib-seed0-" in name and reason == "the loss became nan"
    assert (out / "runs" / name / "outcome.json").is_file()
    assert [each.spec for each in load_runs(out) if each.complete] == ["ft"]
    (mib,) = [each for each in load_runs(out) if not each.complete]
    assert mib.unfinished == "unfinished, 1 of 2 steps done; it failed: the loss became nan"
    trainer.broken.clear()
    records = run(asked, out=out, device="cpu", workers=0)
    assert [record["experiment"]["method"] for record in records] == ["mib", "ft"]
    assert all(record["complete"] for record in records)


def test_sweep_in_python(data: Path, out: Path, trainer: Trainer) -> None:
    found = sweep(
        ["ft", "mib:distillation=5"], ["folder_1-2"], orders=["natural", "3,2,1"], seeds=[0, 1], out=out,
        device="cpu", workers=0, data=data, recipe=RECIPE,
    )  # fmt: skip
    wanted = [(s, o, m) for s in (0, 1) for o in ("natural", "3,2,1") for m in ("ft", "mib:distillation=5.0")]
    facts = [record["experiment"] for record in found]
    assert [(each["seed"], each["order"], each["method"]) for each in facts] == wanted
    assert all(record["complete"] for record in found)
    assert len(trainer.steps) == 4 + 8


def test_a_mistake_is_found_before_anything_trains(data: Path, out: Path, trainer: Trainer) -> None:
    good = Experiment("ft", "folder_1-2", data=data, recipe=RECIPE)
    wrong = [
        Experiment("ft", "folder_1-2", data=data, recipe=RECIPE | {"backbone": "resnet1o1"}),
        Experiment("ft", "folder_1-2", data=data, recipe=RECIPE | {"weights": "no.pth"}),
        Experiment("ft", "folder_7-2", data=data, recipe=RECIPE),
        Experiment("ft", "folder_1-2", data=data, recipe=RECIPE, order="1,2"),
        Experiment("ft", "folder_1-2", data=data, recipe=RECIPE, metrics=["boundary-jou"]),
        Experiment("ft", "folder_1-2", data=data.parent / "nowhere", recipe=RECIPE),
    ]
    for experiment in wrong:
        with pytest.raises(UsageError):
            run([good, experiment], out=out, device="cpu", workers=0)
    assert trainer.steps == []


def test_a_disk_without_room_is_found_before_anything_trains(
    data: Path, out: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(RunError, match=r"the steps to train need about .* bytes .* make room"):
        run(Experiment("ft", "folder_1-2", data=data, recipe=RECIPE), out=out, device="cpu", workers=0)
    assert trainer.steps == []


def test_a_newer_record_is_found_before_anything_trains(data: Path, out: Path, trainer: Trainer) -> None:
    experiment = Experiment("ft", "folder_1-2", data=data, recipe=RECIPE)
    record = run(experiment, out=out, device="cpu", workers=0)[0]
    (path,) = out.glob("runs/*/run.json")
    write_sealed(path, {"format": record["format"] + 1, "something": "else"}, path.parent.name)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="written by a newer version"):
        run(experiment, out=out, device="cpu", workers=0)
    assert path.read_bytes() == before and len(trainer.steps) == 2


def test_stores_of_other_formats_are_refused(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    first, newer = tmp_path / "first", tmp_path / "newer"
    (first / "steps" / "0123").mkdir(parents=True)
    newer.mkdir()
    (newer / "store.json").write_text(json.dumps({"format": 99}))
    common = ["--methods", "ft", "--scenario", "folder_1-2", "--data", data, *SETTINGS]
    for place, words in ((first, "issbench 0.1"), (newer, "newer than this version knows")):
        for more in ((), ("--dry-run",)):
            done = command("run", *common, "--out", place, *more)
            assert done.returncode == 2 and words in done.stderr and "another --out" in done.stderr
    assert trainer.steps == []
