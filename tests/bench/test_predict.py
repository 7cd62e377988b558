"""Predictions for single images, the pictures made of them, and `bench predict`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import bench
from PIL import Image
from small_folder import RECIPE, small_folder

from issbench import Experiment, run
from issbench.bench.commands.predict import mask, overlay
from issbench.bench.commands.support import pictures
from issbench.bench.data import open_data
from issbench.bench.engine.pictures import Relabelling, Scene, channel_labels
from issbench.bench.engine.plan import make_plan
from issbench.bench.engine.predict import _best, load_predictor, read_photo, seen_size
from issbench.errors import UsageError
from issbench.results.figures import FigureError
from issbench.results.figures.palette import class_colours
from issbench.results.runs import Run, load_runs

CPU = torch.device("cpu")
WHERE = pictures.Where(CPU, None)
SMALL = {"first_epochs": 2, "epochs": 1, "batch": 32, "crop": 32, "aspp_channels": 16}
CLASSES = ("ring", "disk", "star", "cross")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods on four classes in an order of their own."""
    out = tmp_path_factory.mktemp("store")
    methods = ("plop", "gsc")
    run([Experiment(m, "shapes_2-1", classes=CLASSES, recipe=SMALL) for m in methods], out=out, device="cpu")
    return out


@pytest.fixture(scope="module")
def runs(store: Path) -> list[Run]:
    return sorted(load_runs(store), key=lambda each: each.experiment["method"], reverse=True)


def step_folder(of: Run, place: int = -1) -> Path:
    return of.store / "steps" / of.record["steps"][place]["key"]


def test_predictions_are_those_that_the_evaluation_counted(runs: list[Run]) -> None:
    """The counts of the record follow from the label maps of `Predictor`."""
    scene = Scene(runs[0].record)
    experiment = Experiment("plop", "shapes_2-1", classes=CLASSES, recipe=SMALL)
    plan = make_plan(experiment, open_data(experiment), CPU)
    last, predictor = plan.steps[-1], load_predictor(step_folder(runs[0]), CPU)
    hits = np.zeros(5, int)
    for name in last.view.data.test.ids:
        sample = scene.sample(name)
        (found,) = scene.predictions(predictor, [sample])
        for channel, label in enumerate(scene.table[:5]):
            hits[channel] += ((found == label) & (sample.truth == label)).sum()
    assert hits.tolist() == runs[0].last["counts"]["tp"]


def test_channels_become_labels_by_name(runs: list[Run]) -> None:
    table = Scene(runs[0].record).table
    assert table[:5].tolist() == [0, 2, 1, 6, 5]  # background, ring, disk, star, cross of shapes
    roads = channel_labels(["(not yet learned)", "road", "building"], ("road", "sidewalk", "building"))
    assert roads[:3].tolist() == [0, 1, 3]
    assert channel_labels(["background", "x"], ())[:2].tolist() == [0, 1]


def test_an_image_of_the_tests_size_is_predicted_as_in_the_test(runs: list[Run]) -> None:
    predictor = load_predictor(step_folder(runs[0]), CPU)
    sample = Scene(runs[0].record).sample("test/day/00003")
    alone = predictor.predict(Image.fromarray(sample.pixels))
    assert np.array_equal(alone, predictor.labels(sample.image[None])[0])


@pytest.mark.parametrize("size", [(64, 64), (97, 31), (31, 200), (1, 1), (300, 2)])
def test_any_size_comes_back(runs: list[Run], size: tuple[int, int]) -> None:
    predictor = load_predictor(step_folder(runs[0]), CPU)
    found = predictor.predict(Image.new("RGB", size, "grey"))
    assert found.shape == size[::-1] and found.dtype == np.uint8 and found.max() < predictor.num_channels == 5


def test_enlarged_images_give_the_same_regions(runs: list[Run]) -> None:
    """The network sees both at the size of its tests."""
    predictor = load_predictor(step_folder(runs[0]), CPU)
    image = Scene(runs[0].record).dataset.image("test/day/00003")
    large = predictor.predict(image.resize((192, 192), Image.Resampling.BICUBIC))
    assert (large[1::3, 1::3] == predictor.predict(image)).mean() > 0.9


def test_the_size_that_the_network_sees() -> None:
    assert seen_size((640, 480), 240) == (320, 240)
    assert seen_size((100, 200), 400) == (400, 800)
    assert seen_size((10_000, 10), 100) == (400, 1)


def test_the_best_channel_is_that_of_all_channels_at_once() -> None:
    logits = torch.randn(1, 21, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(logits, (11, 13), mode="bilinear", align_corners=False)
    assert torch.equal(_best(logits, (11, 13)), expected[0].argmax(dim=0).byte())


def test_images_are_read_as_people_see_them(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    Image.new("RGB", (20, 10), "red").save(tmp_path / "turned.jpg", exif=turned)
    assert read_photo(tmp_path / "turned.jpg").size == (10, 20)
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(read_photo(tmp_path / "clear.png")).min() == 255
    Image.new("L", (4, 4), 7).save(tmp_path / "grey.png")
    assert read_photo(tmp_path / "grey.png").mode == "RGB"
    Image.new("I;16", (4, 4), 700).save(tmp_path / "deep.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "grey.png").read_bytes()[:40])
    (tmp_path / "text.jpg").write_text("no image")
    for name, word in {
        "deep.png": "8 bits",
        "cut.png": "is not a readable image",
        "text.jpg": "is not a readable image .in no known format",
        "x.png": "no image .*check the name",
        ".": "folder",
    }.items():
        with pytest.raises(UsageError, match=word):
            read_photo(tmp_path / name)


def test_masks_hold_the_labels_in_vocs_colours(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [15, 255]], np.uint8)
    mask(labels).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as read:
        assert read.mode == "P" and np.array_equal(np.asarray(read), labels)
        assert np.array_equal(np.asarray(read.convert("RGB")), class_colours()[labels])
    mixed = np.asarray(overlay(Image.new("RGB", (2, 2), (100, 100, 100)), labels))
    assert mixed[0, 0].tolist() == [100, 100, 100]
    assert mixed[0, 1].tolist() == [117, 40, 40]  # 0.4·100 + 0.6·(128, 0, 0)


def test_pictures_hold_the_predictions(runs: list[Run]) -> None:
    names = ["test/day/00001", "test/day/00005"]
    figure = pictures.predictions(runs, names, 3, WHERE)
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert len(shown) == 2 * 4
    scene, predictor = Scene(runs[1].record), load_predictor(step_folder(runs[1]), CPU)
    sample = scene.sample(names[1])
    (expected,) = scene.predictions(predictor, [sample])
    assert np.array_equal(shown[4], sample.pixels)
    assert np.array_equal(shown[5], class_colours()[sample.truth])
    assert np.array_equal(shown[7], class_colours()[expected])
    assert [text.get_text() for text in figure.texts] == ["image", "ground truth", "PLOP", "GSC"]


def test_pictures_of_steps_have_a_column_for_each(runs: list[Run]) -> None:
    figure = pictures.prediction_steps(runs, ["test/day/00001"], 1, WHERE)
    heads = [text.get_text() for text in figure.texts]
    assert heads == ["PLOP", "GSC", "image", "step 0", "step 1", "step 2", "ground truth"]
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert np.array_equal(shown[1], shown[6])  # the first step is the same
    first, scene = load_predictor(step_folder(runs[0], 0), CPU), Scene(runs[0].record)
    (expected,) = scene.predictions(first, [scene.sample("test/day/00001")])
    assert np.array_equal(shown[1], class_colours()[expected])


def test_truth_shows_the_scenarios_classes_alone(runs: list[Run]) -> None:
    scene = Scene(runs[0].record)
    names = scene.choose(5)
    assert len(set(names)) == 5
    held = [set(np.unique(scene.sample(name).truth).tolist()) for name in names]
    assert set.union(*held) <= {0, 1, 2, 5, 6, 255}
    assert held[0] & {1, 2} and held[0] & {5, 6}  # the first has old and new classes


def test_pseudo_labels_are_the_methods_targets(runs: list[Run]) -> None:
    """PLOP: given labels where there are any, else the old network's prediction, or ignored where unsure."""
    plop = runs[0]
    given = Relabelling(plop.record, 1, CPU)
    samples = [given.sample(name) for name in given.choose(6)]
    found = given.targets(plop.record, plop.store, samples)
    scene, teacher = Scene(plop.record), load_predictor(step_folder(plop, 0), CPU)
    table = scene.table
    kept = 0
    for sample, labels in zip(samples, found, strict=True):
        old = table[teacher.labels(sample.image[None])[0]]
        new = sample.truth == 3  # the channel of the step's class
        assert (labels[new] == table[3]).all() and (labels[sample.truth == 255] == 255).all()
        background = sample.truth == 0
        assert np.isin(labels[background], [255, *table[:3]]).all()
        sure = background & (labels != 255)
        assert np.array_equal(labels[sure], old[sure])
        kept += sure.sum()
    assert kept > 0 and any((labels == 255).any() for labels in found)


def test_pseudo_labels_of_two_methods_stand_side_by_side(runs: list[Run]) -> None:
    figure = pictures.pseudo_labels(runs, [], 2, 2, WHERE)
    heads = [text.get_text() for text in figure.texts]
    assert heads == ["image", "ground truth", "given", "PLOP", "GSC"]
    given = Relabelling(runs[1].record, 2, CPU)
    samples = [given.sample(name) for name in given.choose(2)]
    expected = given.targets(runs[1].record, runs[1].store, samples)[1]
    shown = figure.axes[9].images[0].get_array()
    assert np.array_equal(shown, class_colours()[expected])
    assert (shown[expected == 255] == 255).all() and (expected == 255).any()


def test_what_has_no_pictures_is_told(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no pseudo-labels at step 7 .* 1, 2"):
        Relabelling(runs[0].record, 7, CPU)
    with pytest.raises(UsageError, match="does not train on an image 'test/day/00001'"):
        Relabelling(runs[0].record, 1, CPU).sample("test/day/00001")
    with pytest.raises(UsageError, match="no image 'nothing'"):
        Scene(runs[0].record).sample("nothing")
    other = Run(runs[0].path, runs[0].record | {"experiment": runs[0].experiment | {"setting": "disjoint"}})
    with pytest.raises(FigureError, match="one scenario"):
        pictures.one_of_each([*runs, other])
    with pytest.raises(FigureError, match="imported"):
        pictures.one_of_each([Run(runs[0].path, runs[0].record | {"source": {}})])
    with pytest.raises(UsageError, match="is not a finished step"):
        load_predictor(tmp_path, CPU)


def test_one_run_of_each_method_of_one_seed(runs: list[Run]) -> None:
    def seeded(of: Run, seed: int) -> Run:
        return Run(of.path, of.record | {"experiment": of.experiment | {"seed": seed}})

    plop, gsc = runs
    chosen = pictures.one_of_each([gsc, seeded(gsc, 2), seeded(plop, 2), seeded(plop, 1)])
    assert [(r.experiment["method"], r.experiment["seed"]) for r in chosen] == [("gsc", 2), ("plop", 2)]
    with pytest.raises(FigureError, match="no seed"):
        pictures.one_of_each([gsc, seeded(plop, 1)])


def test_the_command(runs: list[Run], tmp_path: Path) -> None:
    scene, folder = Scene(runs[0].record), tmp_path / "own"
    folder.mkdir()
    for name in ("one", "two"):
        Image.fromarray(scene.sample("test/day/00001").pixels).resize((100, 70)).save(folder / f"{name}.png")
    written = []
    for number, checkpoint in enumerate([step_folder(runs[0]), runs[0].path, runs[0].name]):
        out = tmp_path / f"made{number}"
        said = bench("predict", checkpoint, *folder.iterdir(), "--output", out, "--out", runs[0].store)
        assert "background" in said and "%" in said
        assert {path.name for path in out.iterdir()} == {
            "one-mask.png", "one-overlay.png", "two-mask.png", "two-overlay.png", "legend.png",
        }  # fmt: skip
        written.append(np.asarray(Image.open(out / "one-mask.png")))
    expected = scene.table[load_predictor(step_folder(runs[0]), CPU).predict(read_photo(folder / "one.png"))]
    assert all(np.array_equal(found, expected) for found in written) and expected.shape == (70, 100)
    assert Image.open(out / "one-overlay.png").size == (100, 70)


def test_the_command_tells_what_is_wrong(runs: list[Run], tmp_path: Path) -> None:
    image, text = tmp_path / "a.png", tmp_path / "a.txt"
    Image.new("RGB", (9, 9)).save(image)
    text.write_text("text")
    run_folder, out = runs[0].path, ["--output", tmp_path / "made"]
    for words, arguments in {
        ("a.txt", "is not a readable image"): [run_folder, text],
        ("nothing.png", "check the name"): [run_folder, tmp_path / "nothing.png"],
        ("no checkpoint", "--out"): ["nothing", image, "--out", tmp_path],
        ("no run 'nothing'",): ["nothing", image, "--out", runs[0].store],
        ("neither a step", "nor a run"): [tmp_path, image],
        ("no step 9", "0, 1, 2"): [run_folder, image, "--step", 9],
        ("leave --step out",): [step_folder(runs[0]), image, "--step", 1],
        ("both write", "a.png"): [run_folder, image, tmp_path / "sub" / "a.png"],
    }.items():
        said = bench("predict", *arguments, *out, code=2)
        assert all(word in said for word in words), said
    assert not (tmp_path / "made").exists()


def test_figure_command_draws_pictures(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "seven.pdf"
    bench("figure", "pseudo-labels", "--methods", "plop,gsc", "--count", 1, "--out", store, "--output", path)
    assert path.read_bytes().startswith(b"%PDF")


def test_domains(tmp_path: Path) -> None:
    recipe = SMALL | {"crop": 32, "first_epochs": 1}
    run(Experiment("ft", "shapes_3-2", setting="domain", recipe=recipe), out=tmp_path, device="cpu")
    (found,) = load_runs(tmp_path)
    scene = Scene(found.record)
    assert [name.split("/")[1] for name in scene.choose(5)] == ["day", "dusk", "night", "fog", "neon"]
    assert len(pictures.prediction_steps([found], [], 2, WHERE).axes) == 2 * 4
    with pytest.raises(UsageError, match="gives all labels"):
        Relabelling(found.record, 1, CPU)


def test_a_folder_data_set(tmp_path: Path) -> None:
    """Its classes are known from its files alone; and it may have moved since the run."""
    data = small_folder(tmp_path / "data")
    run(Experiment("ft", "folder_2-1", recipe=RECIPE, data=str(data)), out=tmp_path / "out", device="cpu")
    (found,) = load_runs(tmp_path / "out")
    scene = Scene(found.record)
    assert scene.names == {0: "background", 1: "left", 2: "right", 3: "top"}
    assert pictures.predictions([found], [], 2, WHERE).axes
    image = next((data / "images").iterdir())
    assert "wrote" in bench("predict", found.path, image, "--output", tmp_path / "made")
    (tmp_path / "a\x1b[31m.png").write_bytes(image.read_bytes())
    said = bench("predict", found.path, tmp_path / "a\x1b[31m.png", "--output", tmp_path / "red\x1b[31m")
    assert "a�[31m.png: " in said and "red�[31m" in said and "\x1b" not in said
    moved = data.rename(tmp_path / "moved")
    assert Scene(found.record, str(moved)).choose(1)


def test_the_users_files_are_kept(store: Path, tmp_path: Path) -> None:
    """Nothing is predicted where a file of the user's would be lost; what bench wrote is refreshed."""
    folder, output = tmp_path / "images", tmp_path / "out"
    for each in (folder, output):
        each.mkdir()
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    words = ("predict", "shapes_2-1-overlapped-plop", folder / "a.png", "--device", "cpu", "--out", store)
    for name in ("legend.png", "a-mask.png", "a-overlay.png"):
        (output / name).write_bytes(b"mine")
        assert f"{output / name} is there, and is not what bench wrote" in bench(*words, "--output", output, code=2)
        assert [each.read_bytes() for each in output.iterdir()] == [b"mine"]
        (output / name).unlink()
    for _ in range(2):
        bench(*words, "--output", output)
    (output / "legend.png").write_bytes(b"mine")
    bench(*words, "--output", output, code=2)
    bench(*words, "--output", output, "--force")
    assert "where masks would look like images" in bench(*words, "--output", folder, code=2)
    assert [each.name for each in folder.iterdir()] == ["a.png"]
