"""`check_dataset` lists every defect, not only the first."""

from __future__ import annotations

import re
from pathlib import Path

from issbench.scenarios.check import check_dataset
from issbench.scenarios.datasets import load_dataset


def expect(defects: list[str], *patterns: str) -> None:
    """Each pattern is found in exactly one defect, and no defect is left over."""
    for pattern in patterns:
        assert sum(bool(re.search(pattern, defect)) for defect in defects) == 1, (pattern, defects)
    assert len(defects) == len(patterns), defects


def test_sound_data(tiny_voc: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = check_dataset(load_dataset("voc", tiny_voc), lambda *counts: seen.append(counts))
    assert found.defects == []
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_every_defect_is_found(tiny_voc: Path, tree) -> None:
    home = "VOCdevkit/VOC2012"
    (tiny_voc / "JPEGImages/b.jpg").write_bytes(b"\xff\xd8\xff no photograph")
    tree.label(f"{home}/SegmentationClassAug/b.png", (21,))
    (tiny_voc / "JPEGImages/a.jpg").unlink()
    tree.image(f"{home}/SegmentationClassAug/a.png")
    tree.label(f"{home}/SegmentationClassAug/c.png", size=(3, 4))
    tree.text(f"{home}/ImageSets/Segmentation/train_aug.txt", "b", "a", "c", "c", "v", "lost")
    expect(
        check_dataset(load_dataset("voc", tiny_voc)).defects,
        r"^the train split of voc in .* lists 1 sample\(s\) more than once: c; list each once",
        r"^1 image\(s\) of the train split of voc in .* are test images, too: v; take them out of one split",
        r"b\.jpg is not a readable image",
        r"b\.png holds 21;",
        r"a\.jpg does not exist",
        r"a\.png is not an 8-bit single-channel image",
        "^voc: image c has 4×3 pixels, but its label map 3×4; both must agree",
        r"lost\.jpg does not exist",
        r"lost\.png does not exist",
    )


def test_lists(tiny_voc: Path, tree) -> None:
    tree.text("VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt", "")
    (tiny_voc / "ImageSets/Segmentation/val.txt").write_bytes(b"\xff")
    expect(
        check_dataset(load_dataset("voc", tiny_voc)).defects,
        "^the train split of voc in .* is empty; it needs at least one image",
        r"the list .*val\.txt cannot be read as text",
    )


def test_domains(tree) -> None:
    for name in ("train/0001TP_1", "train/Seq99_1", "test/Seq05VD_1"):
        tree.image(f"{name}.png")
        tree.label(f"{name.replace('/', 'annot/')}.png")
    expect(
        check_dataset(load_dataset("camvid", tree.root)).defects,
        "^train/Seq99_1 is of the unknown domain 'Seq99'; camvid has 0001TP, 0006R0, 0016E5",
    )


def test_files_without_partner(tree) -> None:
    tree.text("classes.txt", "background", "thing")
    for index in range(5):
        tree.image(f"images/{index}.jpg")
        tree.label(f"masks/{index}.png")
    (tree.root / "images/0.jpg").unlink()
    (tree.root / "masks/4.png").unlink()
    expect(
        check_dataset(load_dataset("folder", tree.root)).defects,
        r"images/0\.jpg does not exist",
        r"masks/4\.png does not exist",
    )


def test_real_camvid(data_dir: Path) -> None:
    assert check_dataset(load_dataset("camvid", data_dir)) == ([], [])
