"""The parts of `bench speed` beside `step`: what is measured is what it claims to be. How long it takes is not
tested."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import bench
from PIL import Image

from issbench.bench.commands import speed
from issbench.bench.engine.samples import MEAN, STD
from issbench.bench.speed import commands, loader
from issbench.bench.speed.made_images import make_images
from issbench.bench.speed.measured import Measured, Row, alternate, load, save
from issbench.bench.speed.peer import PlainPipeline
from issbench.errors import RunError, UsageError
from issbench.scenarios.datasets import load_dataset

SMALL = ["--backbone", "tiny", "--crop", "64", "--batch", "2", "--device", "cpu"]


# What is measured


def test_made_images_are_photographs_with_all_classes(tmp_path: Path) -> None:
    dataset = load_dataset("folder", make_images(tmp_path / "data", 3, 70))
    assert len(dataset.ids("train")) == 3 and len(dataset.ids("test")) == 1
    for sample in (*dataset.ids("train"), *dataset.ids("test")):
        assert set(np.unique(dataset.label(sample))) == {*range(70)} and dataset.image(sample).size == (500, 375)
    assert 20_000 < (tmp_path / "data" / "images" / f"{sample}.jpg").stat().st_size < 200_000


def test_the_plain_pipeline_is_right(tmp_path: Path) -> None:
    """A white image with a black half: what is cut has their values normalised, and the labels of the halves."""
    dataset = load_dataset("folder", make_images(tmp_path / "data", 1, 3))
    (sample,) = dataset.ids("train")
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:, 40:] = 255
    Image.fromarray(pixels).save(dataset.files(sample)[0], quality=100)
    Image.fromarray((pixels[..., 0] > 0).astype(np.uint8)).save(dataset.files(sample)[1])
    table = torch.arange(256)
    table[1] = 7
    torch.manual_seed(0)
    images, labels = PlainPipeline(dataset, 32, (0.9, 1.0), table).batch([sample] * 4)
    assert images.shape == (4, 3, 32, 32) and labels.shape == (4, 32, 32)
    assert set(labels.unique().tolist()) == {0, 7}
    values = images * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    for value, label in ((0.0, 0), (1.0, 7)):
        found = values.permute(0, 2, 3, 1)[labels == label].mean()
        assert found == pytest.approx(value, abs=0.1)


def test_each_round_reads_each_image_once_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path / "cache"))
    dataset = load_dataset("folder", make_images(tmp_path / "data", 6, 3))
    rows = list(loader.measure_loader(dataset, (32,), 6, 3, 0.0))
    assert [row.name for row in rows] == ["crop 32, files", "crop 32, kept"]
    assert all(row.images == 6 and len(row.ours) == len(row.base) == 3 for row in rows)
    assert len(list((tmp_path / "cache" / "decoded").rglob("*"))) >= 6


def test_the_order_changes_with_each_round() -> None:
    called: list[str] = []

    def do(name: str) -> float:
        called.append(name)
        return 1.0

    assert len(list(alternate(lambda: do("a"), lambda: do("b"), 3, 0))) == 3
    assert called == ["a", "b", "b", "a", "a", "b"]


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(RunError, match="no-such-option"):
        commands._call(*commands._BENCH, "run", "--no-such-option")


# The command


def test_engine(tmp_path: Path) -> None:
    told = bench("speed", "engine", "--methods", "ft,plop", *SMALL, "--classes", "5", "--new", "2", "--rounds", "1",
                 "--workers", "0", "--json", tmp_path / "e.json", "--format", "csv")  # fmt: skip
    assert "ft," in told and "plop," in told
    found = load(tmp_path / "e.json")
    assert found.part == "engine" and [row.name for row in found.rows] == ["ft", "plop"]
    for row in found.rows:
        assert row.images == 12 and row.facts["iterations"] == 6 and len(row.ours) == len(row.base) == 1
    assert {"cpu", "cores", "torch", "commit"} <= set(found.machine)


def test_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_IMAGES", 8)
    path = tmp_path / "loader.json"
    words = ["speed", "loader", "--crop", "16", "--rounds", "1"]
    assert "crop 16, kept" in bench(*words, "--json", path)
    assert [row.name for row in load(path).rows] == ["crop 16, files", "crop 16, kept"]
    assert "now / before" in bench(*words, "--compare", path)


def test_the_commands_that_are_timed_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def dry(*words: str) -> None:
        if words[:3] == commands._BENCH:
            called.append(bench(*words[3:], "--dry-run"))

    monkeypatch.setattr(commands, "_call", dry)
    monkeypatch.setattr(commands, "_until_it_trains", lambda store: 1.0)
    told = bench("speed", "suite", "--jobs", "2", "--rounds", "1")
    assert "2 jobs" in told and "runs/h" in told
    assert [" 2 at once" in each for each in called] == [False, True] * 2
    assert all("0 done, 4 to do" in each for each in called)
    called.clear()
    told = bench("speed", "start", "--rounds", "1")
    assert "first iteration" in told and "finished command" in told
    assert called and all("0 done, 12 to do" in each for each in called)


@pytest.mark.long
def test_suite_and_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands themselves."""
    monkeypatch.setattr(commands, "_METHODS", "ft,lwf")
    monkeypatch.setattr(commands, "_FINISHED", "ft")
    monkeypatch.setattr(commands, "_SHORT", (*commands._SHORT, "--set", "batch=200", "--images", "0.1"))
    for part, names in (("suite", ["2 jobs"]), ("start", ["first iteration", "finished command"])):
        path = tmp_path / f"{part}.json"
        bench("speed", part, *(["--jobs", "2"] if part == "suite" else []), "--rounds", "1", "--json", path)
        rows = load(path).rows
        assert [row.name for row in rows] == names and all(min(row.base + row.ours) > 0 for row in rows)


def test_step_as_json_and_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    words = ["speed", "--methods", "ft,lwf", *SMALL, "--rounds", "2"]
    bench(*words, "--json", path)
    (first, second) = load(path).rows
    assert first.facts["step_bytes"] > 0 and first.images == 2 and second.name == "lwf"
    told = bench("speed", "--methods", "lwf", *SMALL, "--rounds", "1", "--compare", path, "--format", "csv")
    assert "ratio before" in told.partition("now / before")[0] and "Not alike" not in told
    other = bench("speed", "--methods", "lwf", *SMALL, "--rounds", "1", "--classes", "9", "--compare", path)
    assert "Not alike: size tiny, crop 64, batch 2, 21 classes (5 new)" in other
    assert "--compare" in bench("speed", "suite", "--compare", path, code=2)


# Its file


def test_a_file_comes_back_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    row = Row("ft", (1.0, 2.0, 4.0), (1.5, 3.0, 7.0), 4, {"iterations": 6})
    found = Measured("engine", "tiny", ("bench", "speed"), {"cpu": "x"}, "2026-01-01", (row,))
    save(tmp_path / "a.json", found)
    assert load(tmp_path / "a.json") == found
    assert row.ratio == 1.5 and row.quartiles == (1.5, 1.625)
    good = json.loads((tmp_path / "a.json").read_text())
    for number, wrong in enumerate(
        [
            "no json", "[]", "{}", json.dumps(good | {"format": 9}), json.dumps(good | {"rows": [{"name": "ft"}]}),
            json.dumps(good | {"rows": [good["rows"][0] | {"ours": []}]}), "[" * 100_000,
            json.dumps(good | {"rows": [good["rows"][0] | {"base": [0.0, 1.0, 1.0]}]}),
        ]
    ):  # fmt: skip
        path = tmp_path / f"wrong {number}.json"
        path.write_text(wrong)
        with pytest.raises(UsageError, match="--compare"):
            load(path)
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "nowhere.json")
