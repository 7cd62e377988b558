"""What decides a result is in its key and in the name of its run, and nothing else is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import bench
from listed_folder import TRAIN, listed_folder, write_image, write_list, write_mask
from PIL import Image
from plug_in import installed
from small_folder import RECIPE, small_folder

from issbench import Experiment, run
from issbench.bench.data import open_data
from issbench.bench.engine.plan import Plan, make_plan
from issbench.bench.identity import hash_of
from issbench.bench.recipe import Recipe
from issbench.files import read_json
from issbench.results.make_tables import measured_tables
from issbench.results.runs import load_runs
from issbench.scenarios.protocol import PROTOCOLS, Protocol

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return listed_folder(tmp_path / "data")


def plan(data: Path, method: str = "mib", **experiment: Any) -> Plan:
    """The plan of three steps, as a new command makes it."""
    asked = Experiment(method, "folder_1-1", data=data, recipe=experiment.pop("recipe", RECIPE), **experiment)
    return make_plan(asked, open_data(asked), CPU)


def keys(found: Plan) -> list[str]:
    return [step.key for step in found.steps]


def evaluations(found: Plan) -> list[str]:
    return [step.evaluations["confusion"] for step in found.steps]


def unchanged(one: list[str], other: list[str]) -> list[bool]:
    return [a == b for a, b in zip(one, other, strict=True)]


# Settings


WHY = (
    "Only what differs from these defaults is in the keys of stored results. To change one would give results of "
    "the old setting under the keys of the new one: leave the default, and set the value in the recipes of the "
    "datasets, or as a preset of the protocol. A new setting whose default changes nothing may be added here."
)
RECIPE_DEFAULTS = {
    "epochs": 30, "first_epochs": None, "lr": 1e-3, "first_lr": 1e-2, "batch": 24, "crop": 512, "momentum": 0.9,
    "optimizer": "sgd", "warmup": 0.0,
    "weight_decay": 1e-4, "power": 0.9, "scale_min": 0.5, "scale_max": 2.0, "backbone": "resnet101",
    "weights": "imagenet", "output_stride": 16, "activation": "own", "aspp_channels": 256, "nudge": 0,
    "precision": "auto",
}  # fmt: skip
PROTOCOL_DEFAULTS = {
    "name": dataclasses.MISSING, "void": "ignore", "future": "background", "test_images": "seen",
    "other_in_mean": True, "absent": "skip", "domain_split": "official",
}  # fmt: skip


def test_published_defaults_stay_as_they_are() -> None:
    for settings, frozen in ((Recipe, RECIPE_DEFAULTS), (Protocol, PROTOCOL_DEFAULTS)):
        assert {field.name: field.default for field in dataclasses.fields(settings)} == frozen, WHY


@dataclass(frozen=True, kw_only=True)
class LaterRecipe(Recipe):
    """A recipe of a later version, with a setting that does nothing unless it is used."""

    grad_clip: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LaterProtocol(Protocol):
    """A protocol of a later version."""

    flipped_tests: bool = False


def test_a_neutral_new_setting_changes_nothing(folder: Path) -> None:
    old = plan(folder)
    recipe = dataclasses.asdict(old.experiment.recipe)
    protocol = dataclasses.asdict(PROTOCOLS["plop"])
    for neutral in ({"recipe": LaterRecipe(**recipe)}, {"protocol": LaterProtocol(**protocol)}):
        new = plan(folder, **neutral)
        assert (keys(new), evaluations(new), new.run_name) == (keys(old), evaluations(old), old.run_name)
    used = plan(folder, recipe=LaterRecipe(**recipe, grad_clip=1.0))
    assert not {*keys(used)} & {*keys(old)} and used.run_name != old.run_name
    assert plan(folder, protocol=LaterProtocol(**protocol, flipped_tests=True)).run_name != old.run_name


METHOD = '''
    from dataclasses import dataclass
    from issbench.methods.method import Method

    @dataclass(frozen=True, kw_only=True)
    class Options:
        """The options."""
        weight: float = 0.5
        # MORE

    class Mine(Method):
        """Mine."""
        name = "mine"
        title = "Mine"
        Options = Options

        def terms(self, batch, targets):
            return {"mine": self.options.weight * batch.student.features.square().mean()}
'''


def test_a_neutral_new_option_changes_nothing(folder: Path, tmp_path: Path) -> None:
    with installed(tmp_path / "site", "mine", "Mine", METHOD) as write:
        old = plan(folder, "mine")
        write(METHOD.replace("# MORE", "annealed: bool = False"))
        new = plan(folder, "mine")
        assert (keys(new), new.run_name) == (keys(old), old.run_name)
        used = plan(folder, "mine:annealed=on")
        assert unchanged(keys(used), keys(old)) == [True, False, False] and used.run_name != old.run_name
        assert plan(folder, "mine:annealed=off").run_name == old.run_name


EVERY, LATER, NO_STEP = [False] * 3, [True, False, False], [True] * 3


@pytest.mark.parametrize(
    ("setting", "value", "steps"),
    [
        ("epochs", 2, LATER), ("first_epochs", 2, EVERY), ("lr", 0.5, LATER), ("first_lr", 0.5, EVERY),
        ("batch", 3, EVERY), ("crop", 16, EVERY), ("momentum", 0.5, EVERY), ("weight_decay", 0.5, EVERY),
        ("power", 0.5, EVERY),
        ("optimizer", "adamw", EVERY), ("warmup", 0.5, EVERY), ("scale_min", 0.7, EVERY), ("scale_max", 0.7, EVERY),
        ("backbone", "resnet18", EVERY), ("output_stride", 16, EVERY), ("activation", "leaky_relu", EVERY),
        ("aspp_channels", 8, EVERY),
        ("nudge", 1, EVERY),
        ("precision", "bf16", EVERY),
    ],
)  # fmt: skip
def test_each_setting_of_the_recipe_counts(folder: Path, setting: str, value: object, steps: list[bool]) -> None:
    old, new = plan(folder), plan(folder, recipe=RECIPE | {setting: value})
    assert unchanged(keys(new), keys(old)) == steps
    assert new.run_name != old.run_name


def test_all_settings_were_tried() -> None:
    (mark,) = test_each_setting_of_the_recipe_counts.pytestmark
    assert {name for name, _, _ in mark.args[1]} | {"weights"} == {*RECIPE_DEFAULTS}


def test_first_weights_count_by_their_content(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.pt", tmp_path / "second.pt"
    first.write_bytes(b"some weights")
    second.write_bytes(b"some weights")
    old = keys(plan(folder, recipe=RECIPE | {"weights": str(first)}))
    assert keys(plan(folder, recipe=RECIPE | {"weights": str(second)})) == old
    second.write_bytes(b"other weights")
    assert not {*keys(plan(folder, recipe=RECIPE | {"weights": str(second)}))} & {*old}
    assert not {*keys(plan(folder))} & {*old}


@pytest.mark.parametrize("setting", ["void", "future", "test_images", "other_in_mean", "absent", "domain_split"])
def test_each_setting_of_the_protocol_counts(folder: Path, setting: str) -> None:
    values = {"void": "background", "future": "ignore", "test_images": "all", "absent": "zero"}
    values |= {"domain_split": "released", "other_in_mean": False}
    changed = dataclasses.replace(PROTOCOLS["plop"], **{setting: values[setting]})
    assert plan(folder, protocol=changed).run_name != plan(folder).run_name


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({"seed": 1}, EVERY),
        ({"order": "3,2,1"}, EVERY),
        ({"order": "1,3,2"}, LATER),
        ({"classes": ("two", "one")}, EVERY),
        ({"setting": "disjoint"}, EVERY),
        ({"method": "plop"}, LATER),
        ({"method": "mib:distillation=5"}, LATER),
    ],
)
def test_the_experiment_counts(folder: Path, change: dict[str, Any], steps: list[bool]) -> None:
    old, new = plan(folder), plan(folder, **change)
    assert [a == b for a, b in zip(keys(new), keys(old), strict=False)] == steps[: len(new.steps)]
    assert new.run_name != old.run_name


def test_one_experiment_in_several_spellings(folder: Path) -> None:
    usual = plan(folder, "gsc")
    default = usual.resolved["lambda1"]
    spellings = [f"gsc:lambda1={text}" for text in (default, f"{default}0", f" {default:e}", f"+{default}")]
    spellings += ["gsc:sg=on", "gsc:sg=True", "gsc:sg=1,pr=on"]
    for spelling in spellings:
        found = plan(folder, spelling)
        assert found.experiment == usual.experiment, spelling
        assert (keys(found), found.run_name) == (keys(usual), usual.run_name)
    assert {plan(folder, f"gsc:lambda1={text}").experiment.method for text in (".75", "0.750", "75e-2")} == {
        "gsc:lambda1=0.75"
    }
    text = {name: str(value) for name, value in RECIPE.items()} | {"lr": "1e-3"}
    assert plan(folder, recipe=text).run_name == plan(folder).run_name


def test_hashes_depend_on_values_alone() -> None:
    assert hash_of({"a": 1, "b": [1, 2]}) == hash_of({"b": (1, 2), "a": 1})
    different = [hash_of(v) for v in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": "1"}, {"a": None}, [1], [2, 1], [1, 2])]
    assert len(set(different)) == len(different)
    assert len(hash_of(1)) == 24


# Images and labels


def change_image(name: str) -> Callable[[Path], None]:
    return lambda root: write_image(root, name, seed=1)


def change_mask(name: str) -> Callable[[Path], None]:
    return lambda root: write_mask(root, name, TRAIN[name], width=10)


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: write_list(root, "train", [each for each in TRAIN if each != name])


def add_one(root: Path) -> None:
    write_image(root, "g")
    write_mask(root, "g", (3,))
    write_list(root, "train", [*TRAIN, "g"])


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        (change_image("a"), [False, False, False]),
        (change_image("c"), [True, False, False]),
        (change_image("d"), [True, True, False]),
        (change_mask("a"), [False, False, False]),
        (change_mask("d"), [True, True, False]),
        (remove("a"), [False, False, False]),
        (remove("c"), [True, False, False]),
        (remove("f"), [True, True, False]),
        (add_one, [True, True, False]),
    ],
)
def test_what_a_step_trains_on_is_in_its_key(
    folder: Path, change: Callable[[Path], None], steps: list[bool]
) -> None:
    old = plan(folder)
    change(folder)
    new = plan(folder)
    assert unchanged(keys(new), keys(old)) == steps
    assert evaluations(new) == evaluations(old)
    assert new.run_name != old.run_name


@pytest.mark.parametrize(("name", "steps"), [("x", [False, False, False]), ("y", [True, True, False])])
def test_what_a_step_is_tested_on_is_in_the_name_of_the_test(folder: Path, name: str, steps: list[bool]) -> None:
    old = plan(folder)
    write_image(folder, name, seed=1)
    new = plan(folder)
    assert keys(new) == keys(old)
    assert unchanged(evaluations(new), evaluations(old)) == steps
    assert new.run_name != old.run_name


def test_what_no_step_reads_changes_nothing(folder: Path) -> None:
    some = {"classes": ("one", "two")}
    old, joint = plan(folder, **some), plan(folder, "joint", **some)
    write_image(folder, "d", seed=1)
    write_mask(folder, "f", (3,), width=10)
    write_image(folder, "y", seed=1)
    write_image(folder, "not-listed")
    for before, after in ((old, plan(folder, **some)), (joint, plan(folder, "joint", **some))):
        assert (keys(after), evaluations(after), after.run_name) == (
            keys(before),
            evaluations(before),
            before.run_name,
        )


def test_equal_files_are_equal_data(folder: Path, tmp_path: Path) -> None:
    """Touched, written again, their masks compressed otherwise, in another place."""
    old = plan(folder)
    os.utime(folder / "images" / "a.png", (1, 1))
    write_image(folder, "c")
    write_mask(folder, "d", TRAIN["d"], compress_level=0)
    copy = listed_folder(tmp_path / "copy")
    for data in (folder, copy):
        assert (keys(plan(data)), plan(data).run_name) == (keys(old), old.run_name)


def test_a_changed_image_retrains_what_reads_it(folder: Path, tmp_path: Path) -> None:
    def trained() -> list[str]:
        experiment = Experiment("ft", "folder_1-1", data=folder, recipe=RECIPE)
        record = run(experiment, out=tmp_path / "out", device="cpu", workers=0)[0]
        return [step["key"] for step in record["steps"]]

    first = trained()
    assert {path.name for path in (tmp_path / "out" / "steps").iterdir() if path.is_dir()} == {*first}
    write_image(folder, "d", seed=1)
    second = trained()
    assert unchanged(second, first) == [True, True, False]
    assert len([path for path in (tmp_path / "out" / "steps").iterdir() if path.is_dir()]) == 4
    steps = tmp_path / "out" / "steps"
    assert len({(steps / found[2] / "weights.safetensors").read_bytes() for found in (first, second)}) == 2
    assert len([*(tmp_path / "out" / "runs").iterdir()]) == 2


def test_two_data_sets_with_the_same_masks_are_kept_apart(tmp_path: Path) -> None:
    """Say colour and infrared: the same names, sizes, masks and times."""
    colour, infrared = small_folder(tmp_path / "colour"), small_folder(tmp_path / "infrared")
    for number, path in enumerate(sorted((infrared / "images").iterdir())):
        size = path.stat().st_size
        Image.new("RGB", (40, 40), (number, 128, 128)).save(path)
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        assert path.stat().st_size == size
        for each in (path, colour / "images" / path.name):
            os.utime(each, (10**9, 10**9))
    out = tmp_path / "out"
    for data in (colour, infrared):
        run(Experiment("ft", "folder_2-1", data=data, recipe=RECIPE), out=out, device="cpu", workers=0)
    runs = load_runs(out)
    assert len(runs) == 2 and len({run.record["data"] for run in runs}) == 2
    assert not {step["key"] for step in runs[0].steps} & {step["key"] for step in runs[1].steps}
    tables = measured_tables("main", runs)
    assert len({table.title for table in tables}) == len(tables) == 2


# The order from a file


def test_an_order_in_a_file_is_its_permutation(tmp_path: Path) -> None:
    data, order, out = small_folder(tmp_path / "data"), tmp_path / "order.txt", tmp_path / "out"
    settings = [word for key, value in RECIPE.items() for word in ("--set", f"{key}={value}")]
    common = [
        "--methods",
        "ft",
        "--scenario",
        "folder_2-1",
        "--data",
        data,
        "--out",
        out,
        "--workers",
        0,
        *settings,
    ]
    order.write_text("3\n2\n1\n")
    bench("run", *common, "--order", order)
    (folder,) = (out / "runs").iterdir()
    before = (folder / "run.json").read_bytes()
    order.write_text("1 2 3\n")
    assert read_json(folder / "run.json")["experiment"]["order"] == "3,2,1"
    assert "all done" in bench("run", *common, "--order", "3, 2, 1")
    bench("run", *common, "--order", order)
    assert len([*(out / "runs").iterdir()]) == 2
    assert (folder / "run.json").read_bytes() == before
