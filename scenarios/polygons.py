"""Labels as polygons: COCO's JSON files, and labelme's, one for each image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from PIL import Image, ImageDraw

from issbench.files import read_json
from issbench.scenarios.datasets.base import IGNORE
from issbench.scenarios.datasets.images import look_at_image
from issbench.scenarios.errors import DataError
from issbench.scenarios.labelled import Found, Labelled, image_files, inside
from issbench.wellformed import misfit

Points = list[tuple[float, float]]
_BACKGROUND = ("background", "_background_")
_FAR = 1e7  # pixels


class _Picture(TypedDict):
    id: int | str
    file_name: str


class _Category(TypedDict):
    id: int
    name: str


class _Annotation(TypedDict):
    image_id: int | str
    category_id: int
    segmentation: NotRequired[Any]
    iscrowd: NotRequired[int | bool]


class Coco(TypedDict):
    """What is read of a file of COCO's."""

    images: list[_Picture]
    annotations: list[_Annotation]
    categories: list[_Category]


class _Shape(TypedDict):
    label: str
    points: list[list[float]]
    shape_type: NotRequired[str | None]


class LabelMe(TypedDict):
    """What is read of a file of labelme's."""

    imagePath: str
    shapes: list[_Shape]


Area = tuple[int, list[Points]]
"""The label of an area, and its polygons."""


def find_polygons(source: Path) -> Found | None:
    """What COCO's or labelme's files below a folder say; None where there are none."""
    coco: dict[Path, Coco] = {}
    labelme: dict[Path, LabelMe] = {}
    for path in sorted(source.rglob("*.json")):
        try:
            content = read_json(path)
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= {*content}:
            coco[path] = _formed(path, content, Coco)
        elif isinstance(content, dict) and {"shapes", "imagePath"} <= {*content}:
            labelme[path] = _formed(path, content, LabelMe)
    if coco:
        return _of_coco(source, coco)
    return _of_labelme(source, labelme) if labelme else None


def _formed(path: Path, content: Any, kind: Any) -> Any:
    if fault := misfit(content, kind, ""):
        raise DataError(f"{path}: {fault.strip()}; export it anew")
    return content


def _of_coco(source: Path, files: Mapping[Path, Coco]) -> Found:
    names = sorted({(c["id"], c["name"]) for content in files.values() for c in content["categories"]})
    classes = ["background", *dict.fromkeys(name for _, name in names if name not in _BACKGROUND)]
    labels = {number: 0 if name in _BACKGROUND else classes.index(name) for number, name in names}
    if len(labels) < len(names):
        raise DataError(f"the files of COCO in {source} number their categories differently; export them together")
    known, samples = _by_name(source), []
    left_out = 0
    for path, content in files.items():
        areas: dict[int | str, list[Area]] = {picture["id"]: [] for picture in content["images"]}
        for each in content["annotations"]:
            polygons = _polygons(path, each)
            if each["category_id"] not in labels or each["image_id"] not in areas:
                raise DataError(
                    f"{path}: an annotation names an image or a category that is not there; export it anew"
                )
            label = IGNORE if each.get("iscrowd") else labels[each["category_id"]]
            areas[each["image_id"]].append((label, polygons))
            left_out += not polygons
        for picture in content["images"]:
            image = _image(source, path, picture["file_name"], known)
            place = _place_of_split(source, path, image)
            samples.append(Labelled(image, place, partial(draw, image, areas[picture["id"]])))
    remarks = (f"{left_out} annotations have no polygon, and are left out",) * bool(left_out)
    return Found("COCO's polygons", tuple(classes), samples, remarks)


def _polygons(path: Path, annotation: _Annotation) -> list[Points]:
    """The polygons of an annotation, [[x, y, x, y …] …]. DataError for masks in run lengths."""
    found = annotation.get("segmentation") or []
    if isinstance(found, dict):
        raise DataError(f"{path}: an annotation is a mask in run lengths (RLE); export polygons, or masks as PNG")
    if fault := misfit(found, list[list[float]], "segmentation"):
        raise DataError(f"{path}: {fault}; export it anew")
    return [list(zip(each[::2], each[1::2], strict=False)) for each in found if len(each) >= 6]


def _place_of_split(source: Path, file: Path, image: Path) -> Path:
    """Where an image lies; a split that only the name of COCO's file says comes before it."""
    place = image.relative_to(source)
    said = [word for word in ("train", "val", "test") if word in file.stem.lower()]
    return Path(said[0], place) if len(said) == 1 and said[0] not in place.parts else place


def _of_labelme(source: Path, files: Mapping[Path, LabelMe]) -> Found:
    names = {shape["label"] for content in files.values() for shape in content["shapes"]}
    classes = ["background", *sorted(names - {*_BACKGROUND, "__ignore__"})]
    labels = {name: index for index, name in enumerate(classes)} | {"_background_": 0, "__ignore__": IGNORE}
    samples, known, left_out = [], _by_name(source), 0
    for path, content in files.items():
        image = _image(source, path, content["imagePath"], known)
        areas = [(labels[shape["label"]], _outline(path, shape)) for shape in content["shapes"]]
        left_out += sum(not polygons for _, polygons in areas)
        samples.append(Labelled(image, image.relative_to(source), partial(draw, image, areas)))
    remarks = (f"{left_out} shapes have no area (points, lines), and are left out",) * bool(left_out)
    return Found("labelme's shapes", tuple(classes), samples, remarks)


def _outline(path: Path, shape: _Shape) -> list[Points]:
    """The outline of a shape as polygons; none for points and lines."""
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if any(len(point) != 2 for point in points):
        raise DataError(f"{path}: a point of {shape['label']!r} has not two numbers; export it anew")
    (x0, y0), (x1, y1) = (points[0], points[1]) if len(points) > 1 else ((0, 0), (0, 0))
    if kind == "polygon" and len(points) > 2:
        return [[(x, y) for x, y in points]]
    if kind == "rectangle" and len(points) == 2:
        return [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]]
    if kind == "circle" and len(points) == 2:
        radius = float(np.hypot(x1 - x0, y1 - y0))
        turns = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        return [[(x0 + radius * float(np.cos(t)), y0 + radius * float(np.sin(t))) for t in turns]]
    return []


def draw(image: Path, areas: Sequence[Area]) -> np.ndarray:
    """Class indices of the size of an image: larger areas first, so that what lies on them is seen."""
    if any(
        abs(value) > _FAR for _, polygons in areas for points in polygons for point in points for value in point
    ):
        raise DataError(f"a polygon of {image} lies far outside of it; draw it anew")
    canvas = Image.new("L", look_at_image(image).size, 0)
    pen = ImageDraw.Draw(canvas)
    for label, polygons in sorted(areas, key=lambda area: -sum(map(_size, area[1]))):
        for points in polygons:
            pen.polygon(points, fill=label)
    return np.asarray(canvas).copy()


def _size(points: Points) -> float:
    """The area of a polygon."""
    x, y = np.array(points, float).T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def _by_name(source: Path) -> dict[str, list[Path]]:
    """The image files below a folder by their names."""
    found: dict[str, list[Path]] = {}
    for path in image_files(source):
        found.setdefault(path.name, []).append(path)
    return found


def _image(source: Path, file: Path, name: str, known: Mapping[str, list[Path]]) -> Path:
    """The image that a file names: beside it, below the folder that was searched, or the only one of this name."""
    plain = name.replace("\\", "/")
    for path in (file.parent / plain, source / plain):
        if os.path.isfile(path):  # noqa: PTH113  # which is False, too, for a name that no file can have
            return inside(source, path)
    same = known.get(plain.rpartition("/")[2], [])
    if len(same) == 1:
        return same[0]
    why = f"{len(same)} images of this name are" if same else "no image of this name is"
    raise DataError(f"{file} labels {name}, but {why} below {source}; put it beside the file")
