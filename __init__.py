"""issbench: a benchmark of incremental semantic segmentation.

    from issbench import Experiment, load_results, run
    record = run(Experiment("plop", "shapes_4-1", seed=1))[0]

The names load on first use, so that the command line answers before torch is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from issbench.bench.engine.run import RunsFailed, run, sweep
    from issbench.bench.experiment import Experiment
    from issbench.results.frame import load_results

_HOMES = {
    "Experiment": "issbench.bench.experiment",
    "RunsFailed": "issbench.bench.engine.run",
    "load_results": "issbench.results.frame",
    "run": "issbench.bench.engine.run",
    "sweep": "issbench.bench.engine.run",
}
__all__ = ["Experiment", "RunsFailed", "load_results", "run", "sweep"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'issbench' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
