"""What planning found the last time, so that a command whose runs are all done need not plan: that needs torch.

A run's folder keeps the keys of its steps (`plan.json`) with a hash of all from which they were worked out: the
experiment, its data, the device, this package's code, and the files of plug-ins. Where any of these has changed,
the run is planned anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from issbench.bench.data import Data, run_name, scenario_of
from issbench.bench.experiment import Experiment
from issbench.bench.finished import Step, is_done
from issbench.bench.identity import hash_of
from issbench.files import DamagedFile, read_sealed, sha256_of, write_sealed
from issbench.methods.interface.registry import available, method_info
from issbench.scenarios.datasets import dataset_class

_ROOT = Path(__file__).resolve().parents[1]
_CODE = ("bench", "methods", "scenarios")
_DRIVER = Path("/proc/driver/nvidia/gpus")


def remember(out: Path, experiment: Experiment, data: Data, run: str, device: str, steps: Iterable[Step]) -> None:
    """Keep the steps of a run that is done."""
    files = {str(path): sha256_of(path) for path in _plug_ins(experiment)}
    value = {"inputs": _inputs(experiment, data, device), "files": files, "steps": [list(step) for step in steps]}
    write_sealed(out / "runs" / run / "plan.json", value, run)


def done_before(out: Path, experiment: Experiment, data: Data, device: str) -> str | None:
    """The name of the experiment's run if it is known to be done without planning it; else None."""
    run = run_name(experiment, data, scenario_of(experiment, data))
    try:
        known = read_sealed(out / "runs" / run / "plan.json", run)
        unchanged = all(sha256_of(Path(path)) == sha256 for path, sha256 in known["files"].items())
    except (OSError, DamagedFile):
        return None
    if not unchanged or known["inputs"] != _inputs(experiment, data, device):
        return None
    steps: list[Any] = known["steps"]
    return run if is_done(out, run, [tuple(step) for step in steps], experiment.metrics) else None


def _inputs(experiment: Experiment, data: Data, device: str) -> str:
    """A hash of what decides the keys of a run's steps, but for the plug-ins."""
    weights = Path(experiment.recipe.weights)
    return hash_of(
        [
            experiment.identity,
            data.identity(scenario_of(experiment, data), experiment.protocol),
            device,
            sorted(path.name + path.joinpath("information").read_text() for path in _gpus()),
            sha256_of(weights) if weights.is_file() else "",
            version("timm"),
            _code(),
        ]
    )


def _gpus() -> list[Path]:
    """The GPUs of this machine, as their driver lists them: `auto` and the precision depend on them."""
    return [path for path in _DRIVER.iterdir() if (path / "information").is_file()] if _DRIVER.is_dir() else []


@cache
def _code() -> str:
    """A hash of this package's sources as they are, comments included: to read them is quick, to parse them is
    not."""
    digest = hashlib.sha256()
    for room in _CODE:
        for path in sorted((_ROOT / room).rglob("*.py")):
            digest.update(f"{path.relative_to(_ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _plug_ins(experiment: Experiment) -> set[Path]:
    """The files of other packages with code of the experiment's method or dataset."""
    from issbench.bench.engine.fingerprint import files_of

    names = experiment.method_name.split("+")
    infos = [available()[name] for name in {*names, *method_info(experiment.method_name).parts}]
    dataset = dataset_class(experiment.dataset)
    roots = [(info.module, info.class_name) for info in infos] + [(dataset.__module__, dataset.__qualname__)]
    return {path for path in files_of(*roots) if not path.is_relative_to(_ROOT)}


def kind_of(device: str) -> str:
    """`cpu` or `cuda`: what a device is by its name, and what `auto` is on this machine."""
    if device != "auto":
        return device.partition(":")[0]
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    return "cuda" if _gpus() and not hidden else "cpu"
