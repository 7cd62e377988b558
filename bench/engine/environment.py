"""The machine under a run: device, versions, memory."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from issbench.bench.cores import cpu_model
from issbench.errors import UsageError
from issbench.results.record import Environment

_ROOT = Path(__file__).resolve().parents[2]
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


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed all generators that a method may draw from: torch's of the CPU and of `device`, numpy's and Python's.
    (torch.manual_seed formats a stack trace at each call when CUDA is there but not in use.)"""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


_ONE_AT_A_TIME = Lock()
"""The threads of a process share torch's generators and settings: two that train at once would disturb each other's
numbers."""


def threads_for(asked: int | None) -> int:
    """How many threads compute on the CPU: as many as asked for, or as OMP_NUM_THREADS says to torch, or one.

    Not one for each core, torch's own choice: how sums are split changes their last bits, so machines with other
    numbers of cores would not agree; and where other work keeps cores busy, threads wait for each other.
    """
    return asked or (torch.get_num_threads() if os.environ.get("OMP_NUM_THREADS") else 1)


_MMAP_MAX, _TRIM_THRESHOLD, _ARENA_MAX = -4, -1, -8
"""What `mallopt` of the GNU C library calls them: the most blocks that it asks the system for one by one, how many
free bytes it keeps at the end of its heap, and the most heaps. In all but the first one large blocks are always
asked for one by one, and a thread for which there was no memory once is moved to another."""
_C_LIBRARY_LACKS_IT = AttributeError, OSError, TypeError


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory. By default it returns each large block at once, and the next iteration
    gets it back page by page: with 151 classes more than a quarter of a GSC iteration went into that. Other
    C libraries go their own way."""
    with suppress(*_C_LIBRARY_LACKS_IT):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_ARENA_MAX, 1)


@contextmanager
def arithmetic(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """On the CPU `threads_for(threads)` threads, and only algorithms whose result does not depend on timing; GPUs
    lack some of them, and may choose the fastest ones, since all batches of a step have one size. Afterwards the
    number of threads and the generators are as they were. Threads of Python that want this wait for each other."""
    with _ONE_AT_A_TIME:
        yield from _arithmetic(device, threads_for(threads))


def _arithmetic(device: torch.device, threads: int) -> Iterator[None]:
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic
    old = fill.fill_uninitialized_memory, torch.backends.cudnn.benchmark  # type: ignore[attr-defined]
    generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)  # those between operations are torch.jit's alone
    on_cpu = device.type == "cpu"
    if on_cpu:
        _keep_freed_memory()
    torch.use_deterministic_algorithms(deterministic or on_cpu, warn_only=warn_only and not on_cpu)
    fill.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing here reads memory unwritten
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        fill.fill_uninitialized_memory, torch.backends.cudnn.benchmark = old  # type: ignore[attr-defined]
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.set_rng_state(generators[2])


def environment(device: torch.device, precision: str) -> Environment:
    """What may change the last bits of a result without being part of the experiment: recorded, not hashed."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "versions": versions(),
        "git": git_state(),
        "cpu": f"{cpu_model()}, {torch.backends.cpu.get_cpu_capability()}",
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": precision,
    }


def versions() -> dict[str, str]:
    """Versions of Python, of the packages that make the numbers, and of the libraries that torch was built with."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | _libraries(torch.__config__.show())


def _libraries(built_with: str) -> dict[str, str]:
    """The versions of the libraries that multiply and convolve on the CPU, of those that torch says it has."""
    patterns = {"mkl": r"Math Kernel Library Version (\S+)", "onednn": r"MKL-DNN v(\S+)"}
    found = {name: re.search(pattern, built_with) for name, pattern in patterns.items()}
    return {name: match.group(1) for name, match in found.items() if match}


@cache
def git_state() -> str:
    """The commit of issbench's own checkout, with `-dirty` where files were changed; empty for an installed
    package."""
    if not (_ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Start measuring a step's memory, so that it does not depend on what ran before."""
    if device.type == "cuda":
        gc.collect()  # a method of another package may lie in a cycle of references with its networks
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(*_C_LIBRARY_LACKS_IT):
        ctypes.CDLL(None).malloc_trim(0)  # what `_keep_freed_memory` keeps of an earlier step is not this one's
    with suppress(OSError):  # elsewhere than on Linux the system keeps a process's peak for good
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: torch.device) -> int | None:
    """Peak memory in bytes since `reset_peak_memory`: of the tensors on a GPU, or of the whole process on the CPU;
    None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
