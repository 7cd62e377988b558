"""RCIL's two branches and their merge, on several backbones and by themselves."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from issbench.bench.engine.network import Network
from issbench.methods.shared.branches import NoPairs, TwoBranches, add_branches, merge_branches

BACKBONES = ["tiny", "resnet18", "resnet50", "tf_efficientnet_lite0", "regnetx_002"]
# Doubled 3×3 convolutions of each: in ResNets one in each bottleneck or two in each basic block (and two of tiny's
# stem), in RegNet one in each block, in EfficientNet the depthwise ones of this size and the stem.
DOUBLED = {"tiny": 10, "resnet18": 16, "resnet50": 16, "tf_efficientnet_lite0": 8, "regnetx_002": 14}
State = dict[str, Tensor]


def lively_norms(module: nn.Module) -> None:
    """Norms as after much training, scales of either sign included."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.4, 1.6)
            norm.weight.data *= torch.where(torch.rand_like(norm.weight) < 0.2, -1, 1)
            nn.init.normal_(norm.bias, 0, 0.3)
            nn.init.normal_(norm.running_mean, 0, 0.3)
            nn.init.uniform_(norm.running_var, 0.3, 2.0)


def images(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(seed))


def maps(network: nn.Module) -> list[Tensor]:
    """All that a network returns in evaluation."""
    with torch.no_grad():
        output = network.eval()(images(), stages=True)
    return [output.low_logits, output.features, *output.stages]


def error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """The greatest deviation, relative to the greatest value of each map."""
    pairs = zip(found, wanted, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def state(network: nn.Module) -> State:
    return copy.deepcopy(network.state_dict())


def train(network: nn.Module, updates: int = 3) -> None:
    """A few updates as the engine makes them, large enough to move all that may move."""
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.02, momentum=0.9)
    network.train()
    for update in range(updates):
        output = network(images(10 + update), stages=True)
        labels = torch.randint(5, (2, 64, 48), generator=torch.Generator().manual_seed(update))
        optimizer.zero_grad()
        nnf.cross_entropy(output.logits, labels).backward()
        assert all(p.grad is not None for p in trained)
        nn.utils.clip_grad_norm_(trained, 5.0)
        optimizer.step()


@dataclass
class Lived:
    """What a network was through a step, and then another: before, with two branches, trained, merged."""

    plain: State
    outputs: dict[str, list[Tensor]]
    doubled: State
    trained: State
    frozen: set[str]
    network: Network


@pytest.fixture(scope="module", params=BACKBONES)
def lived(request: pytest.FixtureRequest) -> Lived:
    torch.manual_seed(0)
    network = Network(request.param, "none", 16, 16, (3, 2))
    lively_norms(network)
    plain, outputs = state(network), {"plain": maps(network)}
    add_branches(network)
    outputs["doubled"], doubled = maps(network), state(network)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    train(network)
    outputs["trained"], trained = maps(network), state(network)
    merge_branches(network)
    outputs["merged"] = maps(network)
    train(network, 1)  # from here on as the next step has it
    outputs["later"] = maps(network)
    add_branches(network)
    outputs["doubled again"] = maps(network)
    train(network)
    outputs["trained again"] = maps(network)
    merge_branches(network)
    outputs["merged again"] = maps(network)
    return Lived(plain, outputs, doubled, trained, frozen, network)


# The two branches


@pytest.mark.parametrize(
    "before, after",
    [
        ("plain", "doubled"),
        ("trained", "merged"),
        ("later", "doubled again"),
        ("trained again", "merged again"),
    ],
)
def test_branches_come_and_go_without_a_change_of_the_output(lived: Lived, before: str, after: str) -> None:
    assert error(lived.outputs[after], lived.outputs[before]) <= 1e-5


@pytest.mark.parametrize("before, after", [("doubled", "trained"), ("doubled again", "trained again")])
def test_training_does_change_the_output(lived: Lived, before: str, after: str) -> None:
    assert error(lived.outputs[after], lived.outputs[before]) > 1e-3


def test_a_merged_network_is_a_plain_one(lived: Lived) -> None:
    merged = lived.network.state_dict()
    assert list(merged) == list(lived.plain)
    assert all(merged[name].shape == tensor.shape for name, tensor in lived.plain.items())
    assert all(merged[name].dtype == tensor.dtype for name, tensor in lived.plain.items())
    assert all(tensor.isfinite().all() for tensor in merged.values())
    assert all(parameter.requires_grad for parameter in lived.network.parameters())
    assert not any(isinstance(module, TwoBranches) for module in lived.network.modules())


def test_only_the_trained_branch_learns(lived: Lived) -> None:
    changed = {name for name, old in lived.doubled.items() if not torch.equal(lived.trained[name], old)}
    frozen = {name for name in lived.doubled if ".frozen." in name or ".norm." in name}
    assert frozen and not changed & frozen  # weights and running statistics alike
    assert {name for name in lived.doubled if ".trained" in name} <= changed


def test_the_frozen_branch_is_not_in_the_optimiser(lived: Lived) -> None:
    wanted = {name for name in lived.doubled if ".frozen." in name or name.endswith((".norm.weight", ".norm.bias"))}
    assert lived.frozen == wanted


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_is_doubled(backbone: str) -> None:
    network = Network(backbone, "none", 16, 16, (3,))
    before = {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    add_branches(network)
    doubled = {name for name, module in network.named_modules() if isinstance(module, TwoBranches)}
    inside = {name for name in doubled if name.startswith("backbone.")}
    assert len(inside) == DOUBLED[backbone]
    assert all(before[name].kernel_size == (3, 3) for name in inside)
    # The four convolutions of the ASPP that see the encoder's features; not the pooling's and the projection.
    assert doubled - inside == {f"aspp.convs.{index}.0" for index in range(4)}
    assert {"aspp.convs.4.1", "aspp.project.0"} <= set(before)


def test_every_bottleneck_of_a_resnet_has_its_3x3_doubled() -> None:
    network = Network("resnet50", "none", 16, 16, (3,))
    add_branches(network)
    blocks = [module for name, module in network.named_modules() if hasattr(module, "conv3")]
    assert len(blocks) == 16
    assert all(isinstance(block.conv2, TwoBranches) for block in blocks)
    assert not any(isinstance(conv, TwoBranches) for block in blocks for conv in (block.conv1, block.conv3))


# The random choice


def two_branches(channels: int) -> tuple[TwoBranches, Tensor, Tensor, Tensor]:
    """A layer in training, its input, and the outputs of its frozen and its trained branch."""
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
    lively_norms(norm)
    layer = TwoBranches(conv, norm).train()
    nn.init.normal_(layer.trained.weight)
    maps = torch.randn(2, 1, 5, 4)
    with torch.no_grad():
        return layer, maps, layer.frozen(maps), layer.trained_norm(layer.trained(maps))


def shares(layer: TwoBranches, maps: Tensor, frozen: Tensor, trained: Tensor) -> Tensor:
    """How much of the trained branch each channel has."""
    with torch.no_grad():
        output = layer(maps)
    found = torch.full((output.shape[1],), -1.0)
    for share in (0.0, 0.5, 1.0):
        same = torch.isclose(output, (1 - share) * frozen + share * trained, rtol=1e-4, atol=1e-5)
        found[same.all(dim=(0, 2, 3))] = share
    return found


def test_each_channel_is_frozen_or_trained_or_the_mean() -> None:
    channels = 3000
    layer, *example = two_branches(channels)
    torch.manual_seed(1)
    found = shares(layer, *example)
    counts = [int((found == share).sum()) for share in (0.0, 0.5, 1.0)]
    assert sum(counts) == channels
    deviation = (channels * 2 / 9) ** 0.5
    assert all(abs(count - channels / 3) < 4 * deviation for count in counts)


def test_the_expectation_is_the_mean() -> None:
    layer, maps, frozen, trained = two_branches(40)
    torch.manual_seed(2)
    draws = 2000
    with torch.no_grad():
        average = sum(layer(maps) for _ in range(draws)) / draws
    # A share has the variance 1/6; five deviations for the worst of 40 channels.
    spread = (trained - frozen).abs().clamp(min=1e-3)
    assert ((average - (frozen + trained) / 2).abs() < 5 * spread * (1 / 6 / draws) ** 0.5).all()


def test_the_choice_depends_on_the_seed_alone() -> None:
    layer, *example = two_branches(100)
    torch.manual_seed(3)
    first, second = shares(layer, *example), shares(layer, *example)
    torch.manual_seed(3)
    again = shares(layer, *example)
    assert torch.equal(first, again) and not torch.equal(first, second)
    torch.manual_seed(4)
    assert not torch.equal(first, shares(layer, *example))


def test_in_evaluation_the_mean_and_no_random_numbers() -> None:
    layer, maps, frozen, _ = two_branches(10)
    layer.eval()
    before = torch.get_rng_state()
    with torch.no_grad():
        wanted = (frozen + layer.trained_norm(layer.trained(maps))) / 2
        torch.testing.assert_close(layer(maps), wanted)
    assert torch.equal(torch.get_rng_state(), before)


# Other networks


class Toy(nn.Module):
    """Convolutions with a bias, and one with nothing after it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 6, 3, bias=True, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
            nn.Conv2d(6, 8, 3, bias=True, stride=2, groups=2), nn.BatchNorm2d(8, eps=0.1, momentum=0.5),
            nn.Conv2d(8, 8, 3),
        )  # fmt: skip
        self.aspp = ASPP(8, (1, 2, 3), 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.aspp(self.backbone(images))


def test_convolutions_with_a_bias() -> None:
    torch.manual_seed(0)
    toy = Toy()
    lively_norms(toy)
    names = list(toy.state_dict())
    for _ in range(2):
        with torch.no_grad():
            before = toy.eval()(images())
            add_branches(toy)
            doubled = toy.eval()(images())
        assert sum(isinstance(module, TwoBranches) for module in toy.modules()) == 2 + 4
        assert error([doubled], [before]) <= 1e-5
        optimizer = torch.optim.SGD([p for p in toy.parameters() if p.requires_grad], lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            toy.train()(images()).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            trained = toy.eval()(images())
            merge_branches(toy)
            assert error([toy.eval()(images())], [trained]) <= 1e-5
        assert list(toy.state_dict()) == names
        assert all(parameter.requires_grad for parameter in toy.parameters())
        assert toy.backbone[4].eps == 0.1 and toy.backbone[4].momentum == 0.5


def test_a_backbone_without_such_pairs() -> None:
    network = Network("convnext_atto", "none", 16, 16, (3,))
    names = list(network.state_dict())
    with pytest.raises(NoPairs, match=r"3×3 convolutions with a batch norm.*take a ResNet") as info:
        add_branches(network)
    assert info.value.exit_code == 2
    assert list(network.state_dict()) == names  # the ASPP is as it was
