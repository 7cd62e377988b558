"""The engine: training as `bench run` does it, with reading, augmentation, logging and checkpoints, against the
floor of its method, whose tensors are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from issbench.bench.engine.environment import arithmetic, synchronise
from issbench.bench.engine.run import run
from issbench.bench.engine.speed import Workload, resolve, set_up
from issbench.bench.experiment import Experiment
from issbench.bench.speed.made_images import made_images
from issbench.bench.speed.measured import Row, row_of, timed

_ITERATIONS, _EPOCH = 6, 2
"""Of a step that is measured, and of each of its epochs, after which a line is logged."""


def measure_engine(
    specs: list[str], workload: Workload, workers: int | None, rounds: int | None, seconds: float
) -> Iterator[Row]:
    """A row for each method: seconds of the later step of a run on made images, and of as many iterations of the
    floor. `seconds` is the time for all methods."""
    with made_images(_EPOCH * workload.recipe.batch, workload.classes) as data:
        for spec in specs:
            yield _row(spec, workload, data, data.parent / "runs", workers, rounds, seconds / len(specs))


def _row(
    spec: str, workload: Workload, data: Path, out: Path, workers: int | None, rounds: int | None, seconds: float
) -> Row:
    recipe = replace(workload.recipe, first_epochs=1, epochs=_ITERATIONS // _EPOCH)
    base = workload.classes - 1 - workload.new
    settings = {name: getattr(recipe, name) for name in ("backbone", "weights", "crop", "batch", "precision")}
    settings |= {"first_epochs": 1, "epochs": _ITERATIONS // _EPOCH}
    asked = Experiment(spec, f"folder_{base}-{workload.new}", data=str(data), recipe=settings)
    seeds = iter(range(10**9))
    pair = set_up(*resolve(spec), workload)

    def floor() -> None:
        with arithmetic(workload.device, workload.threads):
            for _ in range(_ITERATIONS):
                pair.iterate(pair.floor)
            synchronise(workload.device)

    def engine() -> float:
        (record,) = run(
            replace(asked, seed=next(seeds)), out=out, device=str(workload.device), workers=workers,
            threads=workload.threads,
        )  # fmt: skip
        training = record["steps"][-1]["training"]
        assert training is not None  # it was trained just now
        return training["seconds"]

    images = _ITERATIONS * workload.recipe.batch
    return row_of(spec, timed(floor), engine, rounds, seconds, images, iterations=_ITERATIONS)
