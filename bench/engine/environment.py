"""The machine under a run: device, versions, memory."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

from issbench.errors import UsageError

_PACKAGES = ("issbench", "torch", "torchvision", "timm", "numpy", "pillow")


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is the GPU where there is one; any name of torch's otherwise."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"device {name!r} cannot be used: {str(error).splitlines()[0]}; try --device cpu"
        ) from None
    return device


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes in bf16 faster than in float32. A GPU that is not on this machine is taken for
    one that does, as all since 2020 do: runs are planned where they are submitted."""
    if device.type != "cuda":
        return False
    return not torch.cuda.is_available() or torch.cuda.get_device_capability(device) >= (8, 0)


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of `device` (torch.manual_seed formats a stack trace at each call when
    CUDA is there but not in use)."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that make the numbers."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def reset_peak_memory(device: torch.device) -> None:
    """Start measuring a step's memory (GPUs only: the system keeps a process's peak for good)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Peak memory in bytes: of the tensors on a GPU, or of the whole process on the CPU; None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
