"""Pictures of runs on other datasets than VOC: stored values become labels, each with its name and its colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image
from small_trees import RECIPE, small_ade, small_cityscapes
from typer.testing import CliRunner

from issbench import Experiment, run
from issbench.bench.commands.app import app
from issbench.bench.commands.support import pictures
from issbench.bench.engine.pictures import Scene
from issbench.results.figures.palette import class_colours
from issbench.results.runs import Run, load_runs

WHERE = pictures.Where(torch.device("cpu"), None)


def finished(scenario: str, data: Path, out: Path) -> Run:
    run(Experiment("ft", scenario, data=str(data), recipe=RECIPE), out=out, device="cpu", workers=0)
    return load_runs(out)[0]


def legend(figure: Figure) -> dict[str, tuple[int, ...]]:
    """The colours of the names in a figure's legend."""
    (found,) = figure.legends
    colours = [to_rgb(patch.get_facecolor()) for patch in found.get_patches()]
    names = [text.get_text() for text in found.get_texts()]
    return {name: tuple(round(255 * part) for part in colour) for name, colour in zip(names, colours, strict=True)}


@pytest.fixture(scope="module")
def ade(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("ade")
    return finished("ade_100-50", small_ade(folder / "data"), folder / "out")


def test_ade(ade: Run) -> None:
    scene = Scene(ade.record)
    figure = pictures.predictions([ade], ["validation/03"], 1, WHERE)
    truth = figure.axes[1].images[0].get_array()
    assert np.array_equal(truth, class_colours()[scene.sample("validation/03").truth])
    told, held = legend(figure), np.unique(scene.sample("validation/03").truth).tolist()
    assert held == [*range(3, 151, 10)]
    names = [scene.dataset.classes[label - 1] for label in held]
    assert names[:2] == ["sky", "person"] and {*names} <= {*told}
    assert {told[name] for name in names} == {tuple(class_colours()[label].tolist()) for label in held}
    assert len({*told.values()}) == len(told)  # 150 classes, and no two look the same


def test_masks_of_ade_hold_its_labels(ade: Run, tmp_path: Path) -> None:
    image = Path(ade.experiment["data"]) / "images" / "validation" / "03.jpg"
    done = CliRunner().invoke(app, ["predict", str(ade.path), str(image), "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "03-mask.png") as mask:
        assert mask.mode == "P" and mask.size == (40, 40)
        values = np.asarray(mask)
        assert values.max() <= 150
        assert np.array_equal(np.asarray(mask.convert("RGB")), class_colours()[values])


def test_cityscapes(tmp_path: Path) -> None:
    """It has no background: what is none of its 19 classes is ignored, and white."""
    found = finished("cityscapes_11-5", small_cityscapes(tmp_path / "data"), tmp_path / "out")
    scene = Scene(found.record)
    figure = pictures.prediction_steps([found], [], 1, WHERE)
    assert [text.get_text() for text in figure.texts][1:] == ["image", "step 0", "step 1", "step 2", "ground truth"]
    told = legend(figure)
    assert {*told} - {"ignored"} == {*scene.dataset.classes}
    colours = class_colours()
    for label, name in enumerate(scene.dataset.classes, start=1):
        assert told[name] == tuple(colours[label].tolist())
    (name,) = scene.choose(1)
    truth = figure.axes[-1].images[0].get_array()
    assert np.array_equal(truth, colours[scene.sample(name).truth])
    assert len({tuple(colour) for colour in truth.reshape(-1, 3).tolist()}) >= 19
