"""issbench: a benchmark of incremental semantic segmentation.

    from bench import Experiment, run
    record = run(Experiment("plop", "shapes_4-1", seed=1))[0]

The names load on first use, so that the command line answers before torch is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.engine import run
    from bench.experiment import Experiment

__all__ = ["Experiment", "run"]


def __getattr__(name: str) -> Any:
    if name == "Experiment":
        from bench.experiment import Experiment

        return Experiment
    if name == "run":
        from bench.engine import run

        return run
    raise AttributeError(f"module 'bench' has no attribute {name!r}")
