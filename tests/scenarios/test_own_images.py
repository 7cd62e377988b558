"""`bench data prepare folder --from DIR`: the layouts that tools write become a data set that is checked, and
nothing that is there is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import bench, command
from PIL import Image

from issbench.scenarios.datasets import load_dataset

SIZE = (12, 10)
SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]
NAMES = [f"i{number}" for number in range(6)]


def picture(path: Path, name: str) -> Path:
    """An image of 12 × 10 pixels that no other one is like."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (10 * int(name[1:]), 2, 3)).save(path)
    return path


def mask(path: Path, *values: object) -> Path:
    """A mask of a value or colour whose pixels (1…4, 1…4) have another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    outer, inner = values
    pixels = np.full((*SIZE[::-1], *np.shape(outer)), outer, np.uint8)
    pixels[1:5, 1:5] = inner
    Image.fromarray(pixels).save(path)
    return path


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def with_suffixes(home: Path) -> None:
    for name in NAMES:
        picture(home / "images" / "a" / f"{name}_rgb.jpg", name)
        mask(home / "masks" / "a" / f"{name}_rgb_mask.png", 0, 1)


def in_splits(home: Path) -> None:
    for number, name in enumerate(NAMES):
        part = home / ("valid" if number % 3 == 0 else "train")
        picture(part / "img" / f"{name}.png", name)
        mask(part / "labels" / f"{name}.png", 0, 1)


def black_and_white(home: Path) -> None:
    for name in NAMES:
        picture(home / "images" / f"{name}.png", name)
        mask(home / "masks" / f"{name}.png", 0, 255)


def in_colours(home: Path) -> None:
    for name in NAMES:
        picture(home / "images" / f"{name}.png", name)
        mask(home / "SegmentationClass" / f"{name}.png", (0, 0, 0), (70, 130, 180))
    lines = ("# label:color_rgb:parts:actions", "background:0,0,0::", "class 1:70,130,180::")
    (home / "labelmap.txt").write_text("\n".join(lines))


def coco(home: Path) -> None:
    for name in NAMES:
        picture(home / "images" / f"{name}.jpg", name)
    for split, names in {"train": NAMES[:4], "val": NAMES[4:]}.items():
        content = {
            "images": [{"id": n, "file_name": f"{name}.jpg"} for n, name in enumerate(names)],
            "categories": [{"id": 0, "name": "background"}, {"id": 7, "name": "class 1"}],
            "annotations": [
                {"image_id": n, "category_id": 7, "segmentation": [SQUARE], "iscrowd": 0} for n in range(len(names))
            ],
        }
        write_json(home / "annotations" / f"instances_{split}.json", content)


def labelme(home: Path) -> None:
    for name in NAMES:
        picture(home / f"{name}.jpg", name)
        shapes = [
            {"label": "class 1", "points": [[1, 1], [4, 4]], "shape_type": "rectangle"},
            {"label": "class 1", "points": [[9, 9]], "shape_type": "point"},
        ]
        write_json(home / f"{name}.json", {"imagePath": f"{name}.jpg", "shapes": shapes, "version": "5"})


@pytest.mark.parametrize(
    ("layout", "words", "test_images"),
    [
        (with_suffixes, "images/ and masks/ with class indices", 1),
        (in_splits, "img/ and labels/ with class indices", 2),
        (black_and_white, "black and white", 1),
        (in_colours, "the colours of labelmap.txt", 1),
        (coco, "COCO's polygons", 2),
        (labelme, "labelme's shapes", 1),
    ],
)
def test_layouts(tmp_path: Path, layout: Callable[[Path], None], words: str, test_images: int) -> None:
    home, root = tmp_path / "mine", tmp_path / "made" / "set"
    layout(home)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    said = bench("data", "prepare", "folder", "--from", home, "--root", root)
    assert words in said and "6 images" in said and "all 6 samples are sound" in said
    dataset = load_dataset("folder", root)
    assert dataset.classes == ("class 1",) and len(dataset.ids("test")) == test_images
    for sample in (*dataset.ids("train"), *dataset.ids("test")):
        label = dataset.label(sample)
        assert label[3, 3] == 1 and label[8, 8] == 0 and dataset.image(sample).size == SIZE
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
    again = bench("data", "prepare", "folder", "--from", home, "--root", root, code=2)
    assert "choose another" in again and len(load_dataset("folder", root).ids("train")) == 6 - test_images


def test_smaller_polygons_lie_on_larger_ones_and_crowds_are_ignored(tmp_path: Path) -> None:
    picture(tmp_path / "i1.png", "i1")
    whole = [0, 0, 12, 0, 12, 10, 0, 10]
    boxes = [(1, SQUARE, 0), (2, whole, 0), (1, [6, 6, 9, 6, 9, 9, 6, 9], 1)]
    content = {
        "images": [{"id": 1, "file_name": "i1.png"}],
        "categories": [{"id": 1, "name": "small"}, {"id": 2, "name": "large"}],
        "annotations": [
            {"image_id": 1, "category_id": c, "segmentation": [s], "iscrowd": crowd} for c, s, crowd in boxes
        ],
    }
    write_json(tmp_path / "a.json", content)
    command("data", "prepare", "folder", "--from", tmp_path, "--root", tmp_path / "set")
    label = np.asarray(Image.open(tmp_path / "set" / "masks" / "i1.png"))
    assert (label[2, 2], label[0, 11], label[7, 7]) == (1, 2, 255)


def outside(home: Path) -> None:
    picture(home.parent / "i1.png", "i1")
    write_json(home / "a.json", {"imagePath": "../i1.png", "shapes": []})


def run_lengths(home: Path) -> None:
    coco(home)
    path = home / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = {"counts": [1, 2], "size": [3, 1]}
    write_json(path, content)


def another_colour(home: Path) -> None:
    in_colours(home)
    mask(home / "SegmentationClass" / "i5.png", (0, 0, 0), (1, 2, 3))


def no_table(home: Path) -> None:
    in_colours(home)
    (home / "labelmap.txt").unlink()


def no_image(home: Path) -> None:
    labelme(home)
    (home / "i3.jpg").unlink()


def damaged_coco(home: Path) -> None:
    write_json(home / "a.json", {"images": [{"id": 1}], "annotations": [], "categories": []})


def far_away(home: Path) -> None:
    picture(home / "i1.png", "i1")
    shape = {"label": "a", "points": [[1, 1], [1e300, 4], [-1e300, 9]]}
    write_json(home / "i1.json", {"imagePath": "i1.png", "shapes": [shape]})


def name_that_no_file_can_have(home: Path) -> None:
    write_json(home / "i1.json", {"imagePath": "x" * 300, "shapes": []})


def class_of_two_lines(home: Path) -> None:
    picture(home / "i1.png", "i1")
    shape = {"label": "a\nb", "points": [[1, 1], [4, 4]], "shape_type": "rectangle"}
    write_json(home / "i1.json", {"imagePath": "i1.png", "shapes": [shape]})


def other_names(home: Path) -> None:
    picture(home / "images" / "i1.png", "i1")
    mask(home / "masks" / "j1.png", 0, 1)


@pytest.mark.parametrize(
    ("layout", "code", "words"),
    [
        (lambda home: home.mkdir(), 2, ["no layout that is known"]),
        (outside, 1, ["lies outside of"]),
        (run_lengths, 1, ["instances_val.json", "export polygons"]),
        (another_colour, 1, ["i5.png", "#010203", "labelmap.txt"]),
        (no_table, 1, ["#4682b4", "--colours FILE"]),
        (no_image, 1, ["i3.json", "i3.jpg", "put it beside the file"]),
        (damaged_coco, 1, ["a.json", "lacks 'file_name'"]),
        (far_away, 1, ["i1.png", "far outside"]),
        (name_that_no_file_can_have, 1, ["i1.json", "put it beside the file"]),
        (class_of_two_lines, 1, ["'a\\nb'"]),
        (other_names, 2, ["name them alike"]),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_left(
    tmp_path: Path, layout: Callable[[Path], None], code: int, words: list[str]
) -> None:
    layout(tmp_path / "mine")
    root = tmp_path / "made" / "set"
    said = bench("data", "prepare", "folder", "--from", tmp_path / "mine", "--root", root, code=code)
    assert all(word in said for word in words), said
    assert not root.exists() and not [*root.parent.glob(".*")]


def test_a_table_of_colours_is_given(tmp_path: Path) -> None:
    no_table(tmp_path / "mine")
    table = tmp_path / "table"
    table.write_text("void #000000\nsky #4682B4\n")
    words = ["data", "prepare", "folder", "--from", tmp_path / "mine", "--root", tmp_path / "set"]
    assert "background and 1 classes: sky" in command(*words, "--colours", table).stdout
    assert set(np.unique(np.asarray(Image.open(tmp_path / "set" / "masks" / "i1.png")))) == {1, 255}
    for line, told in {"sky": "names no class", "sky 300,0,0": "above 255", "a 0,0,1\nb 0,0,1": "twice"}.items():
        table.write_text(f"{line}\n")
        assert told in bench(*words[:-1], tmp_path / "other", "--colours", table, code=1)


def test_options_belong_to_folder(tmp_path: Path) -> None:
    said = bench("data", "prepare", "voc", "--from", tmp_path, "--root", tmp_path, code=2)
    assert "bench data prepare folder --from" in said
