"""Training recipes: the published settings, and how a user overrides them."""

from __future__ import annotations

from pathlib import Path

import pytest

from issbench.bench.recipe import Recipe, make_recipe, read_recipe_file
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
    assert (recipe.backbone, recipe.weights, recipe.aspp_channels) == ("resnet101", "imagenet", 256)


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
