"""Training recipes: the published settings, and how a user overrides them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commands import bench
from small_folder import small_folder

from issbench.bench.experiment import Experiment
from issbench.bench.recipe import Recipe, make_recipe, named_recipes, read_recipe_file, tables_of
from issbench.errors import UsageError
from issbench.scenarios.datasets import dataset_names


def test_every_dataset_has_a_recipe() -> None:
    assert all(isinstance(make_recipe(name, {}), Recipe) for name in dataset_names())


@pytest.mark.parametrize("dataset, epochs, lr", [("voc", 30, 1e-3), ("ade", 60, 4e-3), ("cityscapes", 60, 4e-3)])
def test_published_settings(dataset: str, epochs: int, lr: float) -> None:
    recipe = make_recipe(dataset, {})
    assert (recipe.epochs, recipe.first_epochs, recipe.first_lr, recipe.lr) == (epochs, None, 1e-2, lr)
    assert (recipe.batch, recipe.crop, recipe.momentum) == (24, 512, 0.9)
    assert (recipe.weight_decay, recipe.power, recipe.output_stride) == (1e-4, 0.9, 16)
    assert (recipe.scale_min, recipe.scale_max) == (0.5, 2.0)
    assert (recipe.backbone, recipe.weights, recipe.aspp_channels) == ("resnet101.tv_in1k", "imagenet", 256)


def test_the_first_step_has_its_own_rate_and_epochs() -> None:
    recipe = make_recipe("voc", {})
    assert recipe.for_step(0).lr == 1e-2
    assert recipe.for_step(1).lr == recipe.for_step(5).lr == 1e-3
    assert recipe.for_step(0).epochs == recipe.for_step(1).epochs == 30
    recipe = make_recipe("voc", {"first_epochs": "50", "first_lr": "0.5"})
    assert (recipe.for_step(0).epochs, recipe.for_step(1).epochs) == (50, 30)
    assert recipe.for_step(1) == make_recipe("voc", {}).for_step(1)  # what concerns the first step is gone
    assert recipe.for_step(0) == make_recipe("voc", {"epochs": 50, "lr": 0.5}).for_step(1)
    assert not {"first_lr", "first_epochs"} & recipe.for_step(0).of_step().keys()
    assert recipe.for_step(0).of_step()["lr"] == 0.5


def test_overrides_may_be_text_or_values() -> None:
    text = {"epochs": "3", "first_epochs": "5", "lr": "1e-2", "backbone": "resnet18", "precision": "bf16"}
    values = {"epochs": 3, "first_epochs": 5, "lr": 0.01, "backbone": "resnet18", "precision": "bf16"}
    recipe = make_recipe("ade", text)
    assert recipe == make_recipe("ade", values)
    assert isinstance(recipe.epochs, int) and isinstance(recipe.first_epochs, int) and recipe.lr == 0.01
    assert recipe.first_lr == 1e-2 and recipe.batch == 24  # the rest is the dataset's
    assert make_recipe("ade", {}).epochs == 60


def test_unknown_setting() -> None:
    with pytest.raises(UsageError, match=r"unknown recipe setting 'epoch'.*\bepochs\b") as info:
        make_recipe("voc", {"epoch": "3"})
    assert info.value.exit_code == 2


@pytest.mark.parametrize(
    "name, value",
    [
        ("epochs", "0"),
        ("epochs", "three"),
        ("epochs", "1.5"),
        ("first_epochs", "0"),
        ("lr", "fast"),
        ("batch", "1"),
        ("crop", "-4"),
        ("output_stride", "12"),
        ("scale_min", "3"),
        ("scale_min", "0"),
        ("precision", "fp16"),
    ],
)
def test_bad_values(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"recipe: .*{name.partition('_')[0]}|recipe: the crop") as info:
        make_recipe("voc", {name: value})
    assert info.value.exit_code == 2


def test_recipe_file(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text('# a short one\nepochs = 2\nlr = 0.5\nbackbone = "tiny"\n')
    assert read_recipe_file(path) == {"epochs": 2, "lr": 0.5, "backbone": "tiny"}
    assert make_recipe("voc", read_recipe_file(path)) == Recipe(epochs=2, lr=0.5, backbone="tiny")


@pytest.mark.parametrize("content", [b"epochs: 2", b"\xff\xfe", None])
def test_recipe_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "short.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"recipe file .*short\.toml") as info:
        read_recipe_file(path)
    assert info.value.exit_code == 2


# Recipes that have a name


def test_every_named_recipe_is_one() -> None:
    for name, recipe in named_recipes().items():
        assert recipe["about"] and recipe["source"], name
        for where, settings in tables_of(recipe).items():
            found = make_recipe(where, {"base": name})
            assert all(getattr(found, key) == value for key, value in settings.items()), (name, where)


def rates(name: str, where: str) -> tuple[float, float, int, int]:
    recipe = make_recipe(where, {"base": name})
    return recipe.first_lr, recipe.lr, recipe.for_step(0).epochs, recipe.epochs


def test_released_recipes_are_what_the_scripts_have() -> None:
    assert rates("released:plop", "ade_100-50") == rates("released:rcil", "ade_100-5") == (0.01, 0.001, 60, 60)
    assert rates("released:plop", "voc_15-1") == (0.01, 0.001, 30, 30)
    assert rates("released:plop", "voc_10-1") == (
        0.01,
        0.001,
        30,
        10,
    )  # shorter later steps, in this scenario alone
    assert rates("released:rcil", "voc_10-1") == (0.02, 0.001, 30, 30)
    assert rates("released:rcil", "cityscapes_11-1") == (0.02, 0.004, 50, 50)
    assert rates("released:rcil", "cityscapes_1-1") == (0.02, 0.002, 50, 50)
    assert rates("released:mib", "cityscapes_1-1") == (0.01, 0.001, 50, 50)


def test_a_named_recipe_stands_between_the_dataset_and_the_user(tmp_path: Path) -> None:
    swin = make_recipe("voc", {"base": "voc-swin"})
    assert (swin.backbone, swin.output_stride) == ("swin_base_patch4_window12_384.ms_in1k", 32)
    assert (swin.first_lr, swin.lr, swin.momentum, swin.optimizer) == (0.02, 0.001, 0.9, "sgd")
    assert make_recipe("voc", {"base": "voc-swin", "lr": "0.5"}).lr == 0.5
    path = tmp_path / "mine.toml"
    path.write_text('base = "voc-swin"\ncrop = 64\n')
    assert make_recipe("voc", read_recipe_file(path)) == make_recipe("voc", {"base": "voc-swin", "crop": 64})
    by_hand = {"backbone": swin.backbone, "output_stride": 32, "first_lr": 0.02, "lr": 1e-3}
    named = Experiment("ft", "voc_15-1", recipe={"base": "voc-swin"})
    assert named == Experiment("ft", "voc_15-1", recipe=by_hand)  # so their keys are equal, too


@pytest.mark.parametrize(
    "asked, scenario, message",
    [
        ("released:plob", "voc_15-1", r"did you mean .*released:plop"),
        ("nowhere.toml", "voc_15-1", "no recipe of this name, nor such a file; see `bench list recipes`"),
        ("voc-swin", "shapes_4-1", "recipe voc-swin has no settings for shapes; it has some for voc"),
    ],
)
def test_a_recipe_that_is_not_there(asked: str, scenario: str, message: str) -> None:
    words = ["run", "--methods", "ft", "--scenario", scenario, "--recipe", asked, "--dry-run"]
    assert re.search(message, bench(*words, code=2))


def test_the_list_has_all_with_their_settings() -> None:
    text = bench("list", "recipes")
    assert all(f"{name}  {recipe['about']}" in text for name, recipe in named_recipes().items())
    assert "    cityscapes_11-1: lr=0.004" in text


def test_own_images_have_a_small_recipe_which_is_said_and_the_published_one_by_name(tmp_path: Path) -> None:
    data = small_folder(tmp_path / "data")
    small = Experiment("ft", "folder_2-1").recipe
    assert (small.backbone, small.crop, small.batch) == ("resnet18.tv_in1k", 256, 8)
    published = Experiment("ft", "folder_2-1", recipe={"base": "published"}).recipe
    assert (published.backbone, published.crop, published.batch) == ("resnet101.tv_in1k", 512, 24)
    assert Experiment("ft", "voc_15-1", recipe={"base": "published"}) == Experiment("ft", "voc_15-1")
    words = ["run", "--methods", "ft", "--scenario", "folder_2-1", "--data", data, "--dry-run"]
    assert "--recipe published gives ResNet-101" in bench(*words, "--out", tmp_path / "store")
    assert "--recipe published" not in bench(*words, "--recipe", "published", "--out", tmp_path / "store")
