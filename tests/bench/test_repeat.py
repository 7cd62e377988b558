"""A record is an experiment file: `bench run RUN.json` repeats its run, and `--verify` compares the bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import bench, command
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import as_imported, one_record
from PIL import Image
from small_folder import RECIPE, small_folder

from issbench.bench.engine.plan import Plan, make_plans
from issbench.bench.engine.record import run_record
from issbench.bench.experiment import Experiment
from issbench.bench.repeat import experiment_from
from issbench.files import read_sealed, write_sealed
from issbench.methods.interface.options import resolved_options
from issbench.methods.interface.registry import method_info
from issbench.results.record import FORMAT, Record
from issbench.scenarios.errors import DataError

CPU = torch.device("cpu")
SMALL = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("data") / "a")


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("made")
    words = ["run", "--methods", "plop:pod=0.02", "--scenario", "folder_2-1", "--data", data, "--out", out]
    bench(*words, "--workers", "0", "--order", "random:3", *SMALL)
    return next((out / "runs").iterdir())


# From an experiment to its record and back


def record_of(experiment: Experiment) -> Record:
    """The record of an experiment, as far as it repeats it."""
    info = method_info(experiment.method_name)
    options = resolved_options(info, experiment.scenario, experiment.method_options)
    facts: Any = {
        "source": None, "experiment": experiment.describe(), "method": {"name": info.name, "options": options},
    }  # fmt: skip
    return json.loads(json.dumps(facts))  # type: ignore[no-any-return]


def plans(*experiments: Experiment) -> list[Plan]:
    return make_plans(experiments, CPU)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"method": "gsc:sg=off,lambda1=0.25", "seed": 3, "metrics": ["boundary-iou"]},
        {"method": "rcil+gsc:sc=off", "order": "random:5", "protocol": "mib"},
        {"method": "mib+sc", "setting": "overlapped", "recipe": {"lr": 0.125, "first_epochs": 7, "power": 0}},
        {"method": "joint", "order": "FILE", "protocol": "ssul"},
        {"method": "ewc", "scenario": "folder_1-1", "classes": ["top", "left"], "recipe": {"precision": "bf16"}},
        {"method": "lwf+pr", "order": "top,left,right", "recipe": {"output_stride": 16, "scale_max": 1.0}},
        {"allow_leak": True},
    ],
    ids=lambda asked: " ".join(asked) or "defaults",
)  # fmt: skip
def test_a_repeated_run_has_its_name_and_its_keys(asked: dict[str, Any], data: Path, tmp_path: Path) -> None:
    asked = {"method": "plop", "scenario": "folder_2-1", "recipe": {}, **asked}
    if asked.get("order") == "FILE":
        asked["order"] = str(tmp_path / "order.txt")
        Path(asked["order"]).write_text("3\n1\n2\n")
    experiment = Experiment(**{**asked, "recipe": {**RECIPE, **asked["recipe"]}}, data=data)
    (plan,) = plans(experiment)
    record = json.loads(json.dumps(run_record(plan, [])))
    (tmp_path / "order.txt").unlink(missing_ok=True)  # from its record alone
    again = experiment_from(record, tmp_path)
    (repeated,) = plans(again)
    assert again == experiment and repeated.run_name == plan.run_name and repeated.keys == plan.keys


RECIPES = st.fixed_dictionaries(
    {},
    optional={
        "epochs": st.integers(1, 10**6), "first_epochs": st.integers(1, 99), "batch": st.integers(2, 999),
        "lr": st.floats(0, 1e9, exclude_min=True), "momentum": st.floats(0, 1, exclude_max=True),
        "backbone": st.sampled_from(["tiny", "resnet50"]), "weights": st.text("abc é/'\"", min_size=1, max_size=9),
        "output_stride": st.sampled_from([8, 16, 32]), "precision": st.sampled_from(["auto", "fp32", "bf16"]),
    },
)  # fmt: skip
METHODS = st.one_of(
    st.sampled_from(["ft", "joint", "mib", "rcil+gsc", "mib+sc+pr", "gsc:sg=off,sr=off"]),
    st.floats(1e-9, 1e9).map(lambda value: f"gsc:lambda1={value!r}"),
    st.floats(0, 1e9).map(lambda value: f"plop:pod={value!r}"),
)


@settings(max_examples=60, deadline=None)
@given(
    METHODS,
    st.sampled_from(["shapes_4-1", "voc_15-1", "ade_100-10", "cityscapes_11-1"]),
    st.sampled_from(["overlapped", "disjoint", "domain"]),
    st.integers(0, 99).map("random:{}".format) | st.permutations([1, 2, 3]).map(lambda p: ",".join(map(str, p))),
    st.integers(0, 2**63 - 1),
    st.sampled_from([None, "plop", "mib", "ssul"]),
    RECIPES,
    st.lists(st.text(min_size=1, max_size=5), max_size=3, unique=True),
    st.booleans(),
)
def test_every_experiment_comes_back(
    method: str, scenario: str, setting: str, order: str, seed: int, protocol: str | None, recipe: Any,
    classes: Any, leak: bool,
) -> None:  # fmt: skip
    asked = Experiment(
        method, scenario, setting=setting, order=order, seed=seed, protocol=protocol, recipe=recipe,
        classes=classes, allow_leak=leak,
    )  # fmt: skip
    assert experiment_from(record_of(asked), Path("run.json")) == asked


def test_training_on_test_images_comes_back_from_a_record(data: Path, tmp_path: Path) -> None:
    """And only from a record that says it: without, a leak is refused again."""
    leaking = tmp_path / "leaking"
    shutil.copytree(data, leaking)
    for name, ids in {"train": range(12), "test": range(11, 16)}.items():
        (leaking / f"{name}.txt").write_text("".join(f"{index}\n" for index in ids))
    (plan,) = plans(Experiment("ft", "folder_2-1", data=leaking, recipe=RECIPE, allow_leak=True))
    record = json.loads(json.dumps(run_record(plan, [])))
    (repeated,) = plans(experiment_from(record, tmp_path))
    assert repeated.keys == plan.keys
    del record["experiment"]["allow_leak"]
    with pytest.raises(DataError, match="--allow-leak"):
        plans(experiment_from(record, tmp_path))


def test_a_setting_of_another_version_that_is_at_its_default_changes_nothing() -> None:
    experiment = Experiment("ft", "shapes_4-1", recipe={"epochs": 3})
    older, newer = record_of(experiment), record_of(experiment)
    del older["experiment"]["recipe"]["power"]  # type: ignore[union-attr]  # as if this version had brought it
    newer["experiment"]["recipe"]["warm_up"] = 0  # type: ignore[index]
    assert experiment_from(older, Path("run.json")) == experiment_from(newer, Path("run.json")) == experiment


# Records that cannot be repeated


def without(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for key in keys[:-1]:
            record = record[key]
        del record[keys[-1]]

    return change


def with_value(value: object, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_value(FORMAT - 1, "format"), ["has format 2, of issbench 0.1"]),
        (with_value(FORMAT + 1, "format"), ["has format 4, this version reads 3", "update issbench"]),
        (without("experiment"), ["lacks 'experiment'", "give the run.json"]),
        (without("experiment", "seed"), ["experiment lacks 'seed'"]),
        (without("experiment", "recipe", "crop"), ["it lacks the setting crop"]),
        (without("experiment", "protocol", "name"), ["protocol lacks its name"]),
        (without("experiment", "differs"), ["experiment lacks 'differs'"]),
        (with_value(8, "experiment", "differs", "recipe", "warm_up"), ["warm_up=8, which this version"]),
        (with_value(0.7, "experiment", "recipe", "power"), ["the default of power is another one"]),
        (with_value("many", "experiment", "recipe", "epochs"), ["epochs=many: it takes a whole number"]),
        (with_value(None, "experiment", "recipe"), ["of the wrong kind"]),
        (with_value("plob", "method", "name"), ["plob", "did you mean plop"]),
        (with_value(1, "method", "options", "podd"), ["has no option 'podd'", "did you mean pod"]),
        (with_value("folder_41", "experiment", "scenario"), ["scenario is 'folder_41'"]),
        (with_value("/no/where", "experiment", "data"), ["/no/where does not exist", "--data DIR"]),
    ],
    ids=lambda value: value[0].split(",")[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_record_that_does_not_say_enough(
    change: Callable[[dict[str, Any]], None], words: list[str], made: Path, tmp_path: Path
) -> None:
    record = deepcopy(read_sealed(made / "run.json"))
    change(record)
    write_sealed(tmp_path / "run.json", record, made.name)
    said = bench("run", tmp_path / "run.json", "--out", tmp_path / "out", code=2)
    assert len(said.splitlines()) == 1 and all(word in said for word in words), said
    assert not (tmp_path / "out" / "runs").exists()


def test_a_file_that_is_no_record(made: Path, tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        said = bench("run", path, "--out", tmp_path / "out", code=2)
        assert len(said.splitlines()) == 1 and str(path) in said
        return said

    (tmp_path / "run.json").write_bytes((made / "run.json").read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    assert "does not have the checksum" in refused(tmp_path / "run.json")
    for name, content in {"plain.json": "{}", "list.json": "[1]", "image.png": "\0\1", "empty": ""}.items():
        (tmp_path / name).write_text(content)
        assert "give the run.json of a run" in refused(tmp_path / name)
    assert "No such file" in refused(tmp_path / "gone.json")
    assert "No such file" in refused(made.parent)  # a folder without a record
    assert "is not the record of a run" in refused(made / "plan.json")
    write_sealed(tmp_path / "imported.json", as_imported(one_record("plop")), "any")
    assert "was imported from a.csv" in refused(tmp_path / "imported.json")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--methods", "ft"], ["--methods"]),
        (["--seed", "0"], ["--seeds"]),
        (["--order", "natural"], ["--order"]),
        (["--set", "epochs=3"], ["--set"]),
        (["--protocol", "mib"], ["--protocol"]),
        (["--allow-leak"], ["--allow-leak: the record of a run says that"]),
        (["--verify", "--local"], ["--verify", "--local"]),
        (["--verify", "--dry-run"], ["--verify", "--dry-run"]),
    ],
)
def test_options_that_do_not_go_with_a_record(options: list[str], words: list[str], made: Path) -> None:
    said = bench("run", made / "run.json", *options, code=2)
    assert all(word in said for word in words)


def test_what_to_run_must_be_said() -> None:
    assert "--methods and --scenario, or a file: bench run FILE.toml" in bench("run", "--methods", "ft", code=2)
    assert "bench run RUN.json" in bench("run", "--verify", code=2)


# Repeating


def test_a_repeated_run_has_the_same_bits(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # the record says one
    copied = shutil.copy(made / "run.json", tmp_path / "plop.json")
    torch.set_num_threads(2)
    said = bench("run", made, copied, "--verify", "--workers", "0")
    torch.set_num_threads(1)
    assert f"{made}: the same bits: losses, counts and weights of 2 steps" in said
    assert f"{copied}: the same bits: losses and counts" in said and "although" not in said
    assert not list(tmp_path.glob("bench-verify-*"))
    refused = bench("run", made, "--verify", "--out", made.parents[1], code=2)
    assert "has the very steps" in refused and "another --out" in refused


def test_other_images_are_told_and_so_is_where_the_losses_part(made: Path, tmp_path: Path) -> None:
    other = small_folder(tmp_path / "b")
    Image.new("RGB", (40, 40), "red").save(other / "images" / "4.png")
    out = tmp_path / "out"
    done = command("run", made, "--verify", "--data", other, "--out", out, "--workers", "0")
    assert done.returncode == 1 and done.stderr == ""
    before, after = done.stdout.split("epoch 1/1", 1)
    assert f"not as in {made}: images and labels: " in before
    assert f"not as in {made}: step 0 has another key: data " in before
    assert f"{made}: not the same bits" in after
    assert "losses part in step 0, epoch 1 (of the iterations 1 to 3): classification" in after
    assert "weights differ after step 0" in after
    again = next((out / "runs").iterdir())
    shown = bench("show", made, "--against", again)
    assert shown.splitlines()[1:] == after.split("against " + str(again) + ")\n")[1].splitlines()
    assert "no difference" in bench("show", made.name, "--out", made.parents[1], "--against", made / "run.json")


def test_a_run_that_is_not_finished_is_repeated_but_not_verified(
    made: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    record = deepcopy(read_sealed(made / "run.json"))
    record["steps"], record["complete"] = record["steps"][:1], False
    path = tmp_path / "runs" / made.name / "run.json"
    path.parent.mkdir(parents=True)
    write_sealed(path, record, made.name)
    said = bench("run", path, "--verify", code=2)
    assert "1 of 2 steps done" in said and "leave out --verify" in said
    assert not list((tmp_path / "temporary").iterdir())
    assert "1 done, 0 to do" in bench("run", path, "--out", made.parents[1])
