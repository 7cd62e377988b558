"""The optimiser of a step: SGD or AdamW, what decays, how the learning rate runs, how exactly it resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from issbench.bench.engine.assemble import assemble
from issbench.bench.engine.checkpoint import read_checkpoint, write_checkpoint
from issbench.bench.engine.trial import try_step
from issbench.bench.engine.update import Training, set_rate, update
from issbench.bench.recipe import Recipe
from issbench.methods.method import Method, NoOptions, Step

CPU = torch.device("cpu")
TINY = Recipe(
    backbone="tiny", weights="none", aspp_channels=8, batch=2, crop=32, lr=0.01, weight_decay=0.1, optimizer="adamw"
)


def training(recipe: Recipe, method: type[Method] = Method) -> Training:
    torch.manual_seed(0)
    return assemble(Step(0, (2,)), method, method.Options(), recipe, None, CPU)


def go_on(step: Training, until: int, of: int = 6) -> None:
    """Iterations on noise that depends on the iteration alone."""
    step.student.train()
    while step.iteration < until:
        generator = torch.Generator().manual_seed(step.iteration)
        images = torch.randn(2, 3, 32, 32, generator=generator).to(memory_format=torch.channels_last)
        set_rate(step.optimizer, step.recipe, step.iteration, of)
        update(step, images, torch.randint(3, (2, 32, 32), generator=generator))
        step.iteration += 1


def decays(step: Training) -> dict[str, float]:
    """The weight decay of each parameter of the student."""
    by_parameter = {p: group["weight_decay"] for group in step.optimizer.param_groups for p in group["params"]}
    return {name: by_parameter[p] for name, p in step.student.named_parameters()}


def test_adamw_spares_norms_biases_and_tables_of_positions() -> None:
    found = decays(training(replace(TINY, backbone="vit_tiny_patch16_224", output_stride=16)))
    assert {value for name, value in found.items() if name.endswith(("bias", "norm1.weight", "pos_embed"))} == {0.0}
    assert found["backbone.model.cls_token"] == 0.0
    assert found["backbone.model.blocks.0.attn.qkv.weight"] == found["classifier.0.weight"] == 0.1
    assert {*decays(training(replace(TINY, optimizer="sgd"))).values()} == {0.1}  # as all released codes


def test_adamw_spares_the_biases_of_windows() -> None:
    found = decays(training(replace(TINY, backbone="swin_tiny_patch4_window7_224", output_stride=32)))
    tables = {value for name, value in found.items() if "relative_position_bias_table" in name}
    assert tables == {0.0} and found["backbone.layers_3.blocks.1.mlp.fc1.weight"] == 0.1


class Groups(Method):
    """The classifier learns ten times as fast as the rest, which does not decay."""

    def parameter_groups(self, network: torch.nn.Module) -> list[dict[str, object]]:
        last = [*network.get_submodule("classifier").parameters()]
        rest = [p for p in network.parameters() if all(p is not each for each in last)]
        return [{"params": rest, "weight_decay": 0.0}, {"params": last, "scale": 10.0}]


def test_groups_of_a_method_keep_their_scale_and_decay() -> None:
    step = training(TINY, Groups)
    set_rate(step.optimizer, TINY, 0, 6)
    rates = {p: group["lr"] for group in step.optimizer.param_groups for p in group["params"]}
    named = dict(step.student.named_parameters())
    assert rates[named["classifier.0.bias"]] == pytest.approx(0.1) == rates[named["classifier.0.weight"]]
    assert rates[named["backbone.conv1.0.weight"]] == pytest.approx(0.01)
    found = decays(step)
    assert found["classifier.0.weight"] == 0.1 and found["classifier.0.bias"] == 0.0
    assert found["backbone.conv1.0.weight"] == 0.0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_rate_rises_linearly_and_decays_as_without_warmup(optimizer: str) -> None:
    recipe = replace(TINY, optimizer=optimizer)
    step, rates = training(recipe), []
    for warmup in (0.0, 0.4):
        for iteration in range(10):
            set_rate(step.optimizer, replace(recipe, warmup=warmup), iteration, 10)
            rates.append(step.optimizer.param_groups[0]["lr"])
    plain, warm = rates[:10], rates[10:]
    assert [w / p for w, p in zip(warm, plain, strict=True)] == pytest.approx([0.25, 0.5, 0.75, *[1] * 7])
    assert plain == pytest.approx([0.01 * (1 - i / 10) ** 0.9 for i in range(10)])


def weights(step: Training) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in step.student.state_dict().items()}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_checkpoint_goes_on_to_the_bit(optimizer: str, tmp_path: Path) -> None:
    recipe = replace(TINY, optimizer=optimizer, warmup=0.5)
    whole, first, second = training(recipe), training(recipe), training(recipe)
    go_on(whole, 6)
    go_on(first, 3)
    write_checkpoint(tmp_path / "it.checkpoint", "key", first.state())
    second.restore(read_checkpoint(tmp_path / "it.checkpoint", "key", 6), CPU)
    for one, other in zip(first.optimizer.state.values(), second.optimizer.state.values(), strict=True):
        for name, value in one.items():
            assert torch.equal(value, other[name]), name
    go_on(second, 6)
    assert all(torch.equal(value, whole.student.state_dict()[name]) for name, value in weights(second).items())


def test_adamw_moves_what_sgd_moves_but_otherwise() -> None:
    one, other = training(TINY), training(replace(TINY, optimizer="sgd"))
    before = weights(one)
    assert all(torch.equal(value, before[name]) for name, value in weights(other).items())
    go_on(one, 2)
    go_on(other, 2)
    learned = [name for name, _ in one.student.named_parameters()]
    assert not any(torch.equal(before[name], weights(one)[name]) for name in learned)
    assert not all(torch.equal(weights(one)[name], weights(other)[name]) for name in learned)


def test_the_second_moment_counts_in_the_memory_that_a_step_needs() -> None:
    def fixed(recipe: Recipe) -> int:
        return try_step(Step(0, (2,)), Method, NoOptions(), recipe, False).fixed

    trained = sum(p.numel() * p.element_size() for p in training(TINY).student.parameters())
    assert fixed(TINY) - fixed(replace(TINY, optimizer="sgd")) == trained
