"""The network: shapes, stages before their activation, a growing classifier."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.bench.engine.backbones import make_backbone
from issbench.bench.engine.network import Network, start_new_classes


def network(
    *channels: int, backbone: str = "tiny", stride: int = 16, weights: str = "none", seed: int = 0
) -> Network:
    """A network whose norms are no identities (timm starts the last norm of a block at 0)."""
    torch.manual_seed(seed)
    net = Network(backbone, weights, stride, 32, channels or (3,)).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


def images(height: int = 64, width: int = 48, seed: int = 0) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# Outputs


@pytest.mark.parametrize(
    "backbone, stride, channels",
    [
        ("tiny", 16, (16, 32, 64, 128)),
        ("tiny", 8, (16, 32, 64, 128)),
        ("resnet18", 16, (64, 128, 256, 512)),
        ("resnet50", 16, (256, 512, 1024, 2048)),
        ("tf_efficientnet_lite0", 16, (24, 40, 112, 320)),
    ],
)
def test_outputs_have_the_strides_and_channels_of_the_backbone(
    backbone: str, stride: int, channels: tuple[int, ...]
) -> None:
    net = network(3, 2, backbone=backbone, stride=stride)
    maps: list[Tensor] = []
    net.backbone.register_forward_hook(lambda module, inputs, output: maps.extend(output))
    with torch.no_grad():
        output = net(images(), stages=True)
    strides = [min(s, stride) for s in (4, 8, 16, 32)]
    assert [tuple(stage.shape) for stage in output.stages] == [
        (2, c, 64 // s, 48 // s) for c, s in zip(channels, strides, strict=True)
    ]
    low = (64 // stride, 48 // stride)
    assert output.features.shape == (2, 32, *low)
    assert output.low_logits.shape == (2, 5, *low)
    assert output.logits.shape == (2, 5, 64, 48)
    assert output.logits.dtype == torch.float32
    for stage, after in zip(output.stages, maps, strict=True):
        if backbone == "tf_efficientnet_lite0":  # its blocks end without an activation
            assert torch.equal(stage, after)
        else:
            assert stage.min() < 0 <= after.min()
            assert torch.equal(stage.relu(), after)


def test_logits_are_upsampled_without_aligned_corners() -> None:
    output = network()(images())
    wanted = nnf.interpolate(output.low_logits, (64, 48), mode="bilinear", align_corners=False)
    assert torch.equal(output.logits, wanted)
    assert output.logits is output.logits  # computed once


def test_keeping_the_stages_changes_nothing_else() -> None:
    net = network()
    with torch.no_grad():
        plain, with_stages, again = net(images()), net(images(), stages=True), net(images())
    assert plain.stages == again.stages == ()
    assert torch.equal(plain.low_logits, with_stages.low_logits)
    assert torch.equal(plain.features, with_stages.features)
    bare = make_backbone("tiny", "none", 16).eval()
    bare.load_state_dict(net.backbone.state_dict())
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(bare(images()), net.backbone(images()), strict=True))


def test_the_stages_live_no_longer_than_the_output() -> None:
    net = network()
    output = net(images(), stages=True)
    stages = [weakref.ref(stage) for stage in output.stages]
    del output
    assert [stage() for stage in stages] == [None] * 4


@pytest.mark.parametrize("backbone, channels", [("nf_resnet26", (256, 512, 1024, 2048)), ("cspresnet50", None)])
def test_a_stage_that_ends_in_no_activation_is_its_own_output(
    backbone: str, channels: tuple[int, ...] | None
) -> None:
    """The last activation of its last block stands before a convolution (NFNets), or other layers follow (CSP)."""
    net, maps = network(backbone=backbone, stride=32), []
    net.backbone.register_forward_hook(lambda module, inputs, output: maps.extend(output))
    with torch.no_grad():
        stages = net(images(), stages=True).stages
    assert all(torch.equal(stage, each) for stage, each in zip(stages, maps, strict=True))
    assert channels is None or tuple(stage.shape[1] for stage in stages) == channels


@pytest.mark.parametrize("backbone", ["hrnet_w18_small", "xception41", "dla34"])
def test_the_stages_are_the_last_four_maps(backbone: str) -> None:
    """Also where they are no modules (HRNet, Xception), and where timm leaves out maps at the beginning (DLA)."""
    with torch.no_grad():
        output = network(backbone=backbone, stride=32)(images(64, 64), stages=True)
    assert [tuple(stage.shape[2:]) for stage in output.stages] == [(16, 16), (8, 8), (4, 4), (2, 2)]


@pytest.mark.parametrize("backbone", ["tiny", "tf_efficientnet_lite0"])
def test_a_network_ends_with_its_last_reference(backbone: str) -> None:
    """Not with the next garbage collection: dozens of networks would fill a GPU before that."""
    gc.disable()
    try:
        net = network(3, 2, backbone=backbone).train()
        net(images(), stages=True).low_logits.sum().backward()
        alive = [weakref.ref(net), weakref.ref(net.backbone), weakref.ref(net.classifier[0].weight)]
        del net
        assert [each() for each in alive] == [None] * 3
    finally:
        gc.enable()


def test_a_copy_of_a_network_has_stages_of_its_own() -> None:
    net = network()
    twin = copy.deepcopy(net)
    with torch.no_grad():
        wanted = [stage.clone() for stage in net(images(), stages=True).stages]
        net(images(seed=1), stages=True)
        found = twin(images(), stages=True).stages
    assert all(torch.equal(stage, each) for stage, each in zip(found, wanted, strict=True))


def test_nothing_is_kept_of_a_forward_pass_that_fails() -> None:
    net = network().train()
    kept = []
    net.backbone.layer1.register_forward_hook(lambda module, inputs, output: kept.append(weakref.ref(output)))
    net.aspp.register_forward_pre_hook(lambda module, inputs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        net(images(), stages=True)
    assert kept[0]() is None


def test_training_mode_updates_norms_and_evaluation_mode_does_not() -> None:
    net, before = network(), network()
    with torch.no_grad():
        first, second = net(images()), net(images())
        assert torch.equal(first.low_logits, second.low_logits)
        assert same(net, before)
        net.train()(images())
        assert not same(net, before)


def test_every_parameter_gets_a_gradient() -> None:
    net = network(3, 2).train()
    output = net(images(32, 32), stages=True)
    labels = torch.randint(5, (2, 32, 32), generator=torch.Generator().manual_seed(1))
    nnf.cross_entropy(output.logits, labels).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_the_gradient_of_the_stages_reaches_the_backbone_alone() -> None:
    net = network().train()
    sum(stage.square().mean() for stage in net(images(32, 32), stages=True).stages).backward()
    assert all(parameter.grad is not None for parameter in net.backbone.parameters())
    assert all(parameter.grad is None for parameter in net.classifier.parameters())


# The classifier of new classes


def grown(how: str) -> tuple[Network, Network, list[str]]:
    """An old network, the same with two classes more, and the tensors that the old one lacks."""
    old, new = network(2, 1), network(2, 1, 2, seed=5)
    missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
    assert unexpected == []
    start_new_classes(new, how)
    return old, new, missing


def test_old_weights_fit_the_grown_network() -> None:
    old, new, missing = grown("default")
    assert missing == ["classifier.2.weight", "classifier.2.bias"]
    with torch.no_grad():
        assert torch.equal(new(images()).low_logits[:, :3], old(images()).low_logits)
    assert new(images()).low_logits.shape[1] == 5


def test_new_classes_take_their_probability_from_the_background() -> None:
    old, new, _ = grown("background")
    with torch.no_grad():
        before = old(images()).low_logits.softmax(1)
        after = new(images()).low_logits.softmax(1)
    torch.testing.assert_close(after[:, 0] + after[:, 3:].sum(1), before[:, 0])
    torch.testing.assert_close(after[:, 1:3], before[:, 1:3])
    torch.testing.assert_close(after[:, 3], after[:, 0])  # each new class has an equal share
    torch.testing.assert_close(after[:, 4], after[:, 0])
    assert torch.equal(new.classifier[1].bias, old.classifier[1].bias)
    assert torch.equal(new.classifier[0].bias[1:], old.classifier[0].bias[1:])


def test_a_default_start_does_not_keep_the_background() -> None:
    old, new, _ = grown("default")
    with torch.no_grad():
        before, after = old(images()).low_logits.softmax(1), new(images()).low_logits.softmax(1)
    assert not torch.allclose(after[:, 0] + after[:, 3:].sum(1), before[:, 0], atol=1e-3)


def test_the_aspp_starts_as_in_the_released_networks() -> None:
    """Normal after Glorot with gain √2, as if the pooled branch had a projection of its own."""
    aspp = Network("tiny", "none", 16, 256, (3,)).aspp
    wide = aspp.convs[1][0].weight
    assert wide.std().item() == pytest.approx((2 * 2 / (9 * (128 + 256))) ** 0.5, rel=0.02)
    project = aspp.project[0].weight
    assert project[:, :-256].std().item() == pytest.approx((2 * 2 / (4 * 256 + 256)) ** 0.5, rel=0.02)
    assert project[:, -256:].std().item() == pytest.approx((2 * 2 / (256 + 256)) ** 0.5, rel=0.02)
