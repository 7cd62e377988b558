"""Backbones of all kinds in a step: what `bench list backbones` prints is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import bench
from PIL import Image

from issbench.bench.engine.assemble import assemble, make_network
from issbench.bench.engine.backbones import SUGGESTED
from issbench.bench.engine.predict import Predictor
from issbench.bench.engine.update import Training, set_rate, update
from issbench.bench.recipe import Recipe
from issbench.errors import UsageError
from issbench.methods.interface.registry import load_method
from issbench.methods.method import Step
from issbench.methods.shared.branches import NoPairs

CPU = torch.device("cpu")
FAMILIES = {name: stride or 16 for name, (stride, _) in SUGGESTED.items() if not name.startswith("resnet")}
OFTEN = ("convnext", "hrnet", "swin_", "vit", "pvt", "hiera")
RECIPE = Recipe(weights="none", aspp_channels=16, batch=2, lr=0.01)


def recipe_for(name: str, **settings: object) -> Recipe:
    """Small images, of sizes that the strides divide."""
    stride = FAMILIES[name]
    return replace(RECIPE, backbone=name, output_stride=stride, crop=70 if stride == 14 else 64, **settings)


def trained(recipe: Recipe, method: str, index: int) -> Training:
    """A step of 2 + 1 classes after one iteration on noise. Every tensor must have learned, but where HRNet's last
    map does not depend on it."""
    torch.manual_seed(0)
    kind, sizes = load_method(method), (2, 1)[: index + 1]
    old = make_network(recipe, (3,), "none").state_dict() if index else None
    training = assemble(Step(index, sizes), kind, kind.Options(), recipe, old, CPU)
    training.method.begin(training.student, lambda: iter(()), {})
    training.student.train()
    set_rate(training.optimizer, recipe, 0, 2)
    images = torch.randn(2, 3, recipe.crop, recipe.crop)
    labels = torch.randint(1 + sum(sizes), (2, recipe.crop, recipe.crop))
    terms = update(training, images, labels)
    assert all(value.isfinite() for value in terms.values())
    for name, parameter in training.student.named_parameters():
        if not name.startswith(("backbone.stage4.", "backbone.incre_modules.")):
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    return training


@pytest.mark.parametrize(
    "name", [name if name.startswith(OFTEN) else pytest.param(name, marks=pytest.mark.long) for name in FAMILIES]
)
def test_a_step_trains_with_a_model_of_each_family(name: str) -> None:
    recipe = recipe_for(name)
    student = trained(recipe, "ft", 0).student.eval()
    with torch.no_grad():
        output = student(torch.randn(1, 3, recipe.crop, recipe.crop), stages=True)
    widths, sides = zip(*(stage.shape[1:3] for stage in output.stages), strict=True)
    assert list(widths) == student.backbone.feature_info.channels()
    assert list(sides) == [recipe.crop // reduction for reduction in student.backbone.feature_info.reduction()]
    assert sides[-1] == recipe.crop // recipe.output_stride and output.encoder.shape == output.stages[-1].shape


@pytest.mark.parametrize("name", ["pvt_v2_b0", "swin_tiny_patch4_window7_224"])
def test_pod_distils_the_stages_of_a_transformer(name: str) -> None:
    """The outputs of the stages, which end in no activation."""
    training = trained(replace(recipe_for(name), crop=128), "plop", 1)
    assert training.teacher is not None
    images, maps = torch.randn(1, 3, 128, 128), []
    training.teacher.backbone.register_forward_hook(lambda module, inputs, output: maps.extend(output))
    with torch.no_grad():
        stages = training.teacher(images, stages=True).stages
    for stage, each in zip(stages, maps, strict=True):
        assert torch.equal(stage, each.permute(0, 3, 1, 2) if name.startswith("swin") else each)


def test_rcil_refuses_a_transformer() -> None:
    with pytest.raises(NoPairs, match=r"doubles 3×3 convolutions .* this backbone has none; take a ResNet"):
        trained(recipe_for("vit_tiny_patch16_224"), "rcil", 0)


def test_swin_works_in_whole_windows_on_images_of_any_size() -> None:
    """As the released codes of the field have it: weights fit whatever the crop, and each second block shifts."""
    name = "swin_tiny_patch4_window7_224"
    small, large = (make_network(replace(recipe_for(name), crop=crop), (3,), "none") for crop in (64, 256))
    large.load_state_dict(small.state_dict())
    images = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        assert torch.equal(small.eval()(images).low_logits, large.eval()(images).low_logits)


@pytest.mark.parametrize(
    "name, size, fits",
    [("pvt_v2_b0", (50, 30), True), ("hiera_tiny_224", (40, 40), True), ("hiera_tiny_224", (50, 30), False)],
)
def test_an_image_of_another_size_is_predicted_or_refused(name: str, size: tuple[int, int], fits: bool) -> None:
    recipe = recipe_for(name)
    predictor = Predictor(Path(), {}, recipe, make_network(recipe, (3,), "none").eval(), CPU)
    image = Image.new("RGB", size, (90, 120, 30))
    if fits:
        assert predictor.predict(image).shape == size[::-1]
        return
    with pytest.raises(UsageError, match=rf"{name} cannot work on images of \d+ × 64 .* to a square") as info:
        predictor.predict(image)
    assert info.value.exit_code == 2


def test_the_list_has_them_with_their_strides() -> None:
    lines = [line.split() for line in bench("list", "backbones").splitlines()]
    listed = {words[0]: words[1] for words in lines}
    assert all(listed[name] == str(stride) for name, (stride, _) in SUGGESTED.items() if stride)
