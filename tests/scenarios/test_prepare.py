"""Making VOC-aug out of VOC 2012 and SBD, on trees of a few pixels."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from issbench.files import sha256_of
from issbench.scenarios import prepare
from issbench.scenarios.archives import Archive
from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.errors import DataError, ScenarioError
from issbench.scenarios.prepare import how_to_obtain, prepare_voc, read_sbd_mask, voc_palette

VOC = "VOCdevkit/VOC2012"
SEGMENTATION = f"{VOC}/ImageSets/Segmentation"


def put_mat(path: Path, value: int) -> None:
    """An annotation as SBD stores it: a struct GTcls of boundaries, classes and the classes present."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.full((3, 4), value, np.uint8)
    savemat(path, {"GTcls": {"Boundaries": np.zeros((1, 1)), "Segmentation": mask, "CategoriesPresent": value}})


def put_sbd(tree, home: str) -> None:
    tree.text(f"{home}/train.txt", "s1", "t1", "v1")
    tree.text(f"{home}/val.txt", "s2", "v2")
    for value, sample in enumerate(("s1", "s2", "t1", "v1", "v2"), 1):
        put_mat(tree.root / home / f"cls/{sample}.mat", value)


def put_voc(tree) -> None:
    tree.text(f"{SEGMENTATION}/train.txt", "t1", "t0")
    tree.text(f"{SEGMENTATION}/val.txt", "v2", "v1")
    for sample in ("t0", "t1", "v1", "v2"):
        tree.label(f"{VOC}/SegmentationClass/{sample}.png", (0, 20, 255))
    for sample in ("t0", "t1", "v1", "v2", "s1", "s2"):
        tree.image(f"{VOC}/JPEGImages/{sample}.jpg")


@pytest.fixture(params=["sbd", "benchmark_RELEASE/dataset"])
def parts(request: pytest.FixtureRequest, tree) -> Path:
    put_voc(tree)
    put_sbd(tree, request.param)
    return tree.root


def test_masks_list_and_report(parts: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = prepare_voc(parts, on_progress=lambda *counts: seen.append(counts))
    assert (made.directory, made.train, made.test, made.written) == (parts / VOC, 4, 2, 6)
    assert "has 4 train and 2 test images instead of 10582 and 1449" in (made.warning or "")
    assert seen == [(done, 6) for done in range(1, 7)]
    voc = load_dataset("voc", parts)
    assert voc.ids("train") == ("s1", "s2", "t0", "t1")
    assert voc.ids("test") == ("v2", "v1")
    content = {sample: np.unique(voc.label(sample)).tolist() for sample in voc.ids("train") + voc.ids("test")}
    own = [0, 20, 255]
    assert content == {"s1": [1], "s2": [2], "t0": own, "t1": own, "v1": own, "v2": own}
    mask = Image.open(voc.label_path("s2"))
    assert mask.mode == "P"
    assert bytes(mask.getpalette()[:9]) == bytes([0, 0, 0, 128, 0, 0, 0, 128, 0])
    assert sorted(path.name for path in (parts / VOC / "SegmentationClassAug").iterdir()) == [
        f"{sample}.png" for sample in ("s1", "s2", "t0", "t1", "v1", "v2")
    ]


def test_second_call_keeps_everything_and_needs_no_sbd(parts: Path) -> None:
    prepare_voc(parts)
    for home in ("sbd", "benchmark_RELEASE"):
        shutil.rmtree(parts / home, ignore_errors=True)
    before = {path: path.stat().st_mtime_ns for path in parts.rglob("*")}
    assert prepare_voc(parts, download=True).written == 0
    assert {path: path.stat().st_mtime_ns for path in parts.rglob("*")} == before


def test_interrupted_conversion_goes_on(parts: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_voc(parts, on_progress=interrupt)
    assert not (parts / SEGMENTATION / "train_aug.txt").exists()
    seen: list[tuple[int, int]] = []
    assert prepare_voc(parts, on_progress=lambda *counts: seen.append(counts)).written == 3
    assert seen == [(4, 6), (5, 6), (6, 6)]


def test_says_what_is_missing(tree) -> None:
    with pytest.raises(ScenarioError) as info:
        prepare_voc(tree.root)
    message = str(info.value)
    assert info.value.exit_code == 2
    for part in (
        "JPEGImages",
        "SegmentationClass",
        "ImageSets/Segmentation/train.txt",
        "ImageSets/Segmentation/val.txt",
    ):
        assert str(tree.root / VOC / part) in message
    assert f"SBD in {tree.root / 'sbd'} or {tree.root / 'benchmark_RELEASE/dataset'}" in message
    assert "--download" in message
    put_voc(tree)
    with pytest.raises(ScenarioError, match=r"missing: cls, train\.txt, val\.txt of SBD in"):
        prepare_voc(tree.root)


@pytest.mark.parametrize(
    "lost, message",
    [
        (
            f"{VOC}/JPEGImages/s2.jpg",
            r"JPEGImages lacks 1 of 6 files: s2\.jpg; if it was not unpacked completely",
        ),
        (f"{VOC}/SegmentationClass/t0.png", r"SegmentationClass lacks 1 of 4 files: t0\.png"),
        ("sbd/cls/s1.mat", r"cls lacks 1 of 2 files: s1\.mat"),
    ],
)
def test_missing_files(lost: str, message: str, tree) -> None:
    put_voc(tree)
    put_sbd(tree, "sbd")
    (tree.root / lost).unlink()
    with pytest.raises(DataError, match=message) as info:
        prepare_voc(tree.root)
    assert info.value.exit_code == 1


def test_broken_annotations(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    put_mat(path, 20)
    assert np.unique(read_sbd_mask(path)).tolist() == [20]
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DataError, match=r"x\.mat is not a readable SBD annotation .*; unpack SBD again"):
        read_sbd_mask(path)
    savemat(path, {"other": 1})
    with pytest.raises(DataError, match="is not a readable SBD annotation"):
        read_sbd_mask(path)
    put_mat(path, 21)
    with pytest.raises(DataError, match="does not hold classes 0–20"):
        read_sbd_mask(path)


def test_directory_that_cannot_be_written(tree) -> None:
    put_voc(tree)
    put_sbd(tree, "sbd")
    tree.text(f"{VOC}/SegmentationClassAug")
    with pytest.raises(
        DataError, match=r"cannot write .*s1\.png.*; make room or give write access, then run this again"
    ):
        prepare_voc(tree.root)


@pytest.fixture
def archives(tree, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with small archives of VOC and SBD, which are the ones to download."""
    put_voc(tree)
    put_sbd(tree, "benchmark_RELEASE/dataset")
    place = tmp_path_factory.mktemp("server")
    for name, title in (("VOC", "voc.tar"), ("SBD", "sbd.tgz")):
        wanted: Archive = getattr(prepare, f"_{name}_ARCHIVE")
        top = wanted.folder.partition("/")[0]
        with tarfile.open(place / title, "w:gz" if title.endswith("gz") else "w") as file:
            file.add(tree.root / top, top)
        shutil.rmtree(tree.root / top)
        url = (place / title).as_uri()
        monkeypatch.setattr(prepare, f"_{name}_ARCHIVE", replace(wanted, url=url, sha256=sha256_of(place / title)))
    return place


def test_download(tree, archives: Path) -> None:
    assert prepare_voc(tree.root, download=True).train == 4
    assert sorted(path.name for path in tree.root.iterdir()) == [
        "VOCdevkit", "benchmark_RELEASE", "sbd.tgz", "voc.tar",
    ]  # fmt: skip


def test_an_archive_at_hand_is_not_downloaded(tree, archives: Path) -> None:
    for name in ("voc.tar", "sbd.tgz"):
        (archives / name).rename(tree.root / name)
    assert prepare_voc(tree.root, download=True).train == 4


@pytest.mark.parametrize("name, title", [("voc.tar", "Pascal VOC 2012"), ("sbd.tgz", "SBD")])
def test_another_archive_is_not_believed(name: str, title: str, tree, archives: Path) -> None:
    content = (archives / name).read_bytes()
    (archives / name).write_bytes(content[:-1] + b"x")
    with pytest.raises(DataError, match=f"the download of {title} to .* failed: invalid hash value"):
        prepare_voc(tree.root, download=True)
    assert not (tree.root / name).exists()
    (tree.root / name).write_bytes(content[:-1])
    with pytest.raises(DataError, match=f"{name} is not the archive of .*; remove it"):
        prepare_voc(tree.root, download=True)


def test_download_that_fails(tree, archives: Path) -> None:
    (archives / "voc.tar").unlink()
    with pytest.raises(DataError, match=r"the download of Pascal VOC 2012 to .* failed: .*voc.tar.* by other"):
        prepare_voc(tree.root, download=True)


def test_nothing_is_unpacked_over_what_is_there(tree, archives: Path) -> None:
    tree.text(f"{VOC}/mine.txt", "kept")
    with pytest.raises(DataError, match="VOC2012 is there, but not complete; move it away"):
        prepare_voc(tree.root, download=True)
    assert (tree.root / VOC / "mine.txt").read_text() == "kept\n"


def test_downloads_are_secure() -> None:
    for archive in (prepare._VOC_ARCHIVE, prepare._SBD_ARCHIVE):
        assert archive.url.startswith("https://")
        assert len(bytes.fromhex(archive.sha256)) == 32


def test_other_datasets_need_no_preparing() -> None:
    assert "ade needs no preparing. Expected: ADEChallengeData2016/" in how_to_obtain("ade")
    assert "https://www.cityscapes-dataset.com" in how_to_obtain("cityscapes")
    assert "classes.txt" in how_to_obtain("folder")
    assert "shapes needs no preparing. It needs no files" in how_to_obtain("shapes")


def test_palette() -> None:
    palette = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    expected = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {index: tuple(palette[index].tolist()) for index in expected} == expected


def test_palette_is_that_of_the_genuine_masks(data_dir: Path) -> None:
    mask = next((data_dir / VOC / "SegmentationClassAug").iterdir())
    assert bytes(Image.open(mask).getpalette()) == voc_palette()
