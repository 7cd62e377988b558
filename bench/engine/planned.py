"""What planning found the last time, so that a command whose runs are all done need not plan: that needs torch.

A run's folder keeps the keys of its steps (`plan.json`) with a hash of all from which they were worked out: the
experiment, its data, the device, this package's code, and the files of plug-ins. Where any of these has changed,
the run is planned anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

from issbench.bench.data import Data, readable_name, run_name, scenario_of
from issbench.bench.engine.first_weights import content_of_file
from issbench.bench.experiment import Experiment
from issbench.bench.fingerprint import files_of
from issbench.bench.finished import Step, is_done
from issbench.bench.identity import hash_of
from issbench.bench.metrics import metrics_for
from issbench.files import DamagedFile, read_sealed, sha256_of, write_sealed
from issbench.methods.interface.registry import available as methods
from issbench.methods.interface.registry import method_info
from issbench.scenarios.datasets import dataset_class
from issbench.wellformed import misfit

_ROOT = Path(__file__).resolve().parents[2]
_CODE = ("bench", "methods", "scenarios")
_DRIVER = Path("/proc/driver/nvidia/gpus")


class _Known(TypedDict):
    """What `plan.json` holds."""

    inputs: str
    files: dict[str, str]
    steps: list[Step]


def sources(experiment: Experiment, data: Data, device: str) -> dict[str, Any]:
    """What a plan is worked out from, as it is now."""
    return {"inputs": _inputs(experiment, data, device), "files": _plug_ins(*_roots(experiment))}


def remember(out: Path, run: str, steps: Iterable[Step], found: Mapping[str, Any]) -> None:
    """Keep the steps of a run that is done, with the `sources` that its plan was made from. That only saves
    planning: a store that cannot be written goes without."""
    with suppress(OSError):
        write_sealed(out / "runs" / run / "plan.json", {**found, "steps": [list(step) for step in steps]}, run)


def may_be_done(out: Path, experiment: Experiment) -> bool:
    """Whether there is a run that may be the experiment's, by its name. This reads no data."""
    return any((out / "runs").glob(f"{readable_name(experiment)}-*/plan.json"))


def done_before(out: Path, experiment: Experiment, data: Data, device: str) -> str | None:
    """The name of the experiment's run if it is known to be done without planning it; else None."""
    run = run_name(experiment, data, scenario_of(experiment, data))
    try:
        known = read_sealed(out / "runs" / run / "plan.json", run)
        if misfit(known, _Known, "it"):  # whatever stands there, it is planned anew
            return None
        unchanged = all(sha256_of(Path(path)) == sha256 for path, sha256 in known["files"].items())
    except (OSError, ValueError, DamagedFile):  # ValueError: a path with a zero byte
        return None
    if not unchanged or known["inputs"] != _inputs(experiment, data, device):
        return None
    steps = [(key, evaluation) for key, evaluation in known["steps"]]
    return run if is_done(out, run, steps, experiment.metrics) else None


def _inputs(experiment: Experiment, data: Data, device: str) -> str:
    """A hash of what decides the keys of a run's steps, but for the files of plug-ins."""
    weights = Path(experiment.recipe.weights)
    content = content_of_file(weights, weights.stat().st_mtime_ns) if weights.is_file() else ""
    return hash_of(
        [
            experiment.identity,
            _roots(experiment),
            data.identity(scenario_of(experiment, data), experiment.protocol),
            device,
            sorted(path.name + path.joinpath("information").read_text() for path in _gpus()),
            content,
            _code(),
        ]
    )


def _gpus() -> list[Path]:
    """The GPUs of this machine, as their driver lists them: `auto` and the precision depend on them."""
    return [path for path in _DRIVER.iterdir() if (path / "information").is_file()] if _DRIVER.is_dir() else []


@cache
def _code() -> str:
    """A hash of timm's version, and of this package's sources as they are, comments included: to read them is
    quick, to parse them is not."""
    digest = hashlib.sha256(version("timm").encode())
    for room in _CODE:
        for path in sorted((_ROOT / room).rglob("*.py")):
            digest.update(f"{path.relative_to(_ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def _plug_ins(*roots: tuple[str, str]) -> dict[str, str]:
    """The files of other packages with code of these classes, and their SHA-256. As this process saw them first:
    it keeps the code that it has imported."""
    outside = [path for path in files_of(*roots) if not path.is_relative_to(_ROOT)]
    return {str(path): sha256_of(path) for path in sorted(outside)}


def _roots(experiment: Experiment) -> list[tuple[str, str]]:
    """The classes of the experiment's method and its parts, of its dataset and of its metrics: module and name."""
    names = {*experiment.method_name.split("+"), *method_info(experiment.method_name).parts}
    infos = [methods()[name] for name in sorted(names)]
    others = [dataset_class(experiment.dataset), *map(type, metrics_for(experiment.metrics))]
    return [(info.module, info.class_name) for info in infos] + [(c.__module__, c.__qualname__) for c in others]


def kind_of(device: str) -> str:
    """`cpu` or `cuda`: what a device is by its name, and what `auto` is on this machine."""
    if device != "auto":
        return device.partition(":")[0]
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    return "cuda" if _gpus() and not hidden else "cpu"
