"""The figures that need networks: label maps from `bench/pictures.py`, drawn by `results/figures/images.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from issbench.bench.engine.pictures import Relabelling, Sample, Scene
from issbench.bench.engine.predict import load_predictor
from issbench.results.figures import FigureError
from issbench.results.figures.images import PictureRow, image_grid
from issbench.results.figures.panels import panels
from issbench.results.runs import Run


@dataclass(frozen=True)
class Where:
    """The device to compute on, and where the dataset lies if not where the record says."""

    device: torch.device
    data: str | None


def one_of_each(runs: Sequence[Run]) -> list[Run]:
    """One finished run of each method, in the order given, all of one seed: the lowest that all of them have.

    FigureError where the runs come from several scenarios, orders, recipes or data sets.
    """
    usable = [run for run in runs if not run.imported]
    if not usable and runs:
        raise FigureError("imported runs have no networks: nothing can be predicted")
    found, _ = panels(usable)
    if len(found) > 1:
        titles = "; ".join(panel.title.replace("\n", ", ") for panel in found[:4])
        raise FigureError(
            f"pictures are of one scenario, but the runs are of {len(found)}: {titles}; choose with --scenario, "
            "--setting, --order or --run"
        )
    by_method: dict[str, dict[int, Run]] = {}
    for run in usable:
        if run in found[0].runs:
            by_method.setdefault(run.spec, {})[run.seed] = run
    shared = set.intersection(*(set(seeds) for seeds in by_method.values()))
    if not shared:
        raise FigureError(f"no seed that {', '.join(by_method)} have in common; choose others with --methods")
    return [seeds[min(shared)] for seeds in by_method.values()]


def predictions(runs: Sequence[Run], images: Sequence[str], count: int, where: Where) -> Figure:
    """Images × methods after the last step, beside the image and its ground truth."""
    scene = Scene(runs[0].record, where.data)
    samples = _samples(scene, images, count)
    columns = [_predicted(scene, run, -1, samples, where) for run in runs]
    rows = [PictureRow([s.pixels, s.truth, *maps]) for s, *maps in zip(samples, *columns, strict=True)]
    return image_grid(rows, ["image", "ground truth", *(run.label for run in runs)], scene.names)


def prediction_steps(runs: Sequence[Run], images: Sequence[str], count: int, where: Where) -> Figure:
    """Images × steps: for each image a row for each method. A step that a method skips stays empty."""
    scene = Scene(runs[0].record, where.data)
    samples = _samples(scene, images, count)
    steps = sorted({step["step"] for run in runs for step in run.steps})
    maps = {}
    for run in runs:
        for place, step in enumerate(run.steps):
            for sample, found in zip(samples, _predicted(scene, run, place, samples, where), strict=True):
                maps[run.name, sample.name, step["step"]] = found
    rows = [
        PictureRow([s.pixels, *(maps.get((run.name, s.name, step)) for step in steps), s.truth], run.label)
        for s in samples
        for run in runs
    ]
    return image_grid(rows, ["image", *(f"step {step}" for step in steps), "ground truth"], scene.names)


def pseudo_labels(runs: Sequence[Run], images: Sequence[str], count: int, step: int | None, where: Where) -> Figure:
    """Training images of a step × methods: the labels that each learns, beside the ground truth and the labels that
    the step gives."""
    chosen = runs[0].last["step"] if step is None else step
    scene = Scene(runs[0].record, where.data)
    given = Relabelling(runs[0].record, chosen, where.device, where.data)
    samples = [given.sample(name) for name in images or given.choose(count)]
    columns = [given.targets(run.record, run.store, samples) for run in runs]
    rows = [
        PictureRow([s.pixels, scene.sample(s.name).truth, scene.table[s.truth], *maps])
        for s, *maps in zip(samples, *columns, strict=True)
    ]
    return image_grid(rows, ["image", "ground truth", "given", *(run.label for run in runs)], scene.names)


def _samples(scene: Scene, images: Sequence[str], count: int) -> list[Sample]:
    return [scene.sample(name) for name in images or scene.choose(count)]


def _predicted(scene: Scene, run: Run, place: int, samples: Sequence[Sample], where: Where) -> list[np.ndarray]:
    """Label maps of the samples by the network after the run's step at this place."""
    step = run.store / "steps" / str(run.steps[place]["key"])
    return list(scene.predictions(load_predictor(step, where.device), samples))
