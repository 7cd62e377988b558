"""The presence table and the fingerprints: what they say, when the cache is used, and when it is not."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from issbench.outputs import cache_dir
from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import Dataset, FileDataset
from issbench.scenarios.datasets.voc import Voc
from issbench.scenarios.errors import DataError
from issbench.scenarios.presence import Presence, content_of, presence


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test that asks for nothing else."""
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The samples whose labels were read."""
    read: list[str] = []
    original = FileDataset.label

    def label(self: FileDataset, sample: str) -> np.ndarray:
        read.append(sample)
        return original(self, sample)

    monkeypatch.setattr(FileDataset, "label", label)
    return read


def same(one: Presence, other: Presence) -> bool:
    return (
        (one.ids, one.images, one.labels, one.content(one.ids))
        == (other.ids, other.images, other.labels, other.content(other.ids))
    ) and np.array_equal(one.table, other.table)


def test_table_and_progress(tiny_voc: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = presence(load_dataset("voc", tiny_voc), "train", lambda done, total: seen.append((done, total)))
    assert found.ids == ("b", "a", "c")
    assert (found.table.dtype, found.table.shape) == (bool, (3, 21))
    assert [np.flatnonzero(row).tolist() for row in found.table] == [[0, 1], [20], [0, 15]]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_second_call_reads_no_label(tiny_voc: Path, reads: list[str]) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    assert sorted(reads) == ["a", "b", "c"]
    reads.clear()
    assert same(presence(load_dataset("voc", tiny_voc), "train"), first)
    assert reads == []
    assert presence(load_dataset("voc", tiny_voc), "test").ids == ("v",)
    assert reads == ["v"]


def test_a_changed_label_alone_is_read_again(tiny_voc: Path, tree, reads: list[str]) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    reads.clear()
    tree.label("VOCdevkit/VOC2012/SegmentationClassAug/a.png", (19,))
    seen: list[tuple[int, int]] = []
    second = presence(load_dataset("voc", tiny_voc), "train", lambda done, total: seen.append((done, total)))
    assert (reads, seen) == (["a"], [(1, 1)])
    assert np.flatnonzero(second.table[1]).tolist() == [19]
    assert second.content(["a"]) != first.content(["a"])
    assert second.content(["b", "c"]) == first.content(["b", "c"])
    assert second.content(second.ids) != first.content(first.ids)


def test_a_changed_image_changes_the_content_of_its_sample_alone(tiny_voc: Path, tree, reads: list[str]) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    reads.clear()
    path = tiny_voc / "JPEGImages/a.jpg"
    pixels = np.full((3, 4, 3), 200, np.uint8)
    Image.fromarray(pixels).save(path)
    second = presence(load_dataset("voc", tiny_voc), "train")
    assert reads == ["a"]
    assert second.labels == first.labels and np.array_equal(second.table, first.table)
    assert [one == other for one, other in zip(second.images, first.images, strict=True)] == [True, False, True]
    assert second.content(["a"]) != first.content(["a"])
    assert second.content(["c"]) == first.content(["c"])


def test_a_change_that_keeps_size_and_time_is_noticed(tiny_voc: Path) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    for name in ("JPEGImages/b.jpg", "SegmentationClassAug/b.png"):
        path = tiny_voc / name
        before = path.stat()
        content = bytearray(path.read_bytes())
        if path.suffix == ".jpg":
            content[20] ^= 1
        path.write_bytes(bytes(content))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size and path.stat().st_mtime_ns == before.st_mtime_ns
    assert presence(load_dataset("voc", tiny_voc), "train").images[0] != first.images[0]


def test_copies_of_one_folder_are_kept_apart(tiny_voc: Path, tmp_path: Path) -> None:
    """Files of equal names, sizes and times in two directories: each is read."""
    first = presence(load_dataset("voc", tiny_voc), "train")
    other = tmp_path / "copy"
    shutil.copytree(tiny_voc, other)
    path = other / "JPEGImages/a.jpg"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(bytes(content))
    for root in (tiny_voc, other):
        for file in root.rglob("*.*"):
            os.utime(file, ns=(0, 0))
    second = presence(load_dataset("voc", other), "train")
    assert second.images[0] == first.images[0] and second.images[1] != first.images[1]
    assert same(presence(load_dataset("voc", tiny_voc), "train"), first)


def test_content_does_not_depend_on_place_time_and_compression_of_labels(
    tiny_voc: Path, tmp_path: Path, reads: list[str]
) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    other = tmp_path / "copy"
    shutil.copytree(tiny_voc, other)
    path = other / "SegmentationClassAug/a.png"
    before = path.stat().st_size
    with Image.open(path) as mask:
        mask.save(path, compress_level=0)
    assert path.stat().st_size != before
    reads.clear()
    assert same(presence(load_dataset("voc", other), "train"), first)
    assert len(reads) == 3


def test_content_sees_pixels_that_the_table_does_not(tiny_voc: Path, tree) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    tree.label("VOCdevkit/VOC2012/SegmentationClassAug/c.png", (0, 0, 0, 15))
    second = presence(load_dataset("voc", tiny_voc), "train")
    assert np.array_equal(first.table, second.table)
    assert first.content(["c"]) != second.content(["c"])


def test_content_follows_the_order_of_ids(tiny_voc: Path) -> None:
    train = presence(load_dataset("voc", tiny_voc), "train")
    contents = [train.content(ids) for ids in (["a"], ["a", "b"], ["b", "a"], [], ["a", "b", "c"])]
    assert len(set(contents)) == len(contents)


def test_content_over_both_splits(tiny_voc: Path, tree) -> None:
    def parts() -> list[Presence]:
        dataset = load_dataset("voc", tiny_voc)
        return [presence(dataset, split) for split in ("train", "test")]

    train, test = parts()
    assert (
        content_of(["b", "c"], [train, test]) == content_of(["b", "c"], [test, train]) == train.content(["b", "c"])
    )
    both = content_of(["b", "v"], [train, test])
    tree.label("VOCdevkit/VOC2012/SegmentationClassAug/v.png", (9,))
    assert content_of(["b", "v"], parts()) != both


def test_an_image_without_a_file_is_an_error_where_it_is_asked_for(tiny_voc: Path, tree) -> None:
    for sample in ("a", "c"):
        (tiny_voc / f"JPEGImages/{sample}.jpg").unlink()
    train = presence(load_dataset("voc", tiny_voc), "train")  # the classes of labels alone can be counted
    assert train.table.any(axis=1).all()
    assert train.content(["b"])
    with pytest.raises(
        DataError, match=r"2 sample\(s\) have no image file in the train split of voc in .*: a, c; add"
    ):
        train.content(train.ids)
    tree.image("VOCdevkit/VOC2012/JPEGImages/a.jpg")
    assert presence(load_dataset("voc", tiny_voc), "train").content(["a", "b"])


def test_added_and_removed_samples(tiny_voc: Path, tree, reads: list[str]) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    reads.clear()
    tree.text("VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt", "c", "b")
    second = presence(load_dataset("voc", tiny_voc), "train")
    assert (second.ids, reads) == (("c", "b"), [])
    assert second.content(["b", "c"]) == first.content(["b", "c"])
    tree.image("VOCdevkit/VOC2012/JPEGImages/d.jpg")
    tree.label("VOCdevkit/VOC2012/SegmentationClassAug/d.png", (7,))
    tree.text("VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt", "d", "b")
    third = presence(load_dataset("voc", tiny_voc), "train")
    assert (third.ids, reads) == (("d", "b"), ["d"])
    assert [np.flatnonzero(row).tolist() for row in third.table] == [[7], [0, 1]]


def test_other_class_names_read_all_again(
    tiny_voc: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    presence(load_dataset("voc", tiny_voc), "train")
    reads.clear()
    monkeypatch.setattr(Voc, "classes", (*Voc.classes[:-1], "screen"))
    presence(load_dataset("voc", tiny_voc), "train")
    assert len(reads) == 3


THEIRS = """
from PIL import Image, ImageOps
from issbench.scenarios.datasets.folder import Folder
from their_package.values import FIRST

class Theirs(Folder):
    name = "theirs"

    def image(self, sample):
        return super().image(sample)

    def raw_to_label(self):
        return {0: 0, 9: FIRST, 255: 255}
"""


def test_code_of_another_package_decides_labels_and_images(
    tree, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    tree.text("data/classes.txt", "background", "one", "two")
    for index in range(5):
        tree.image(f"data/images/{index}.png")
        tree.label(f"data/masks/{index}.png", (0, 9))
    home = tree.root / "packages/their_package"
    monkeypatch.syspath_prepend(str(home.parent))

    def scan(first: int, image: str) -> Presence:
        tree.text("packages/their_package/__init__.py")
        tree.text("packages/their_package/values.py", f"FIRST = {first}")
        source = THEIRS.replace("super().image(sample)", image)
        tree.text("packages/their_package/data.py", source)
        for name in [name for name in sys.modules if name.startswith("their_package")]:
            del sys.modules[name]
        shutil.rmtree(home / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        return presence(importlib.import_module("their_package.data").Theirs(tree.root / "data"), "train")

    plain = scan(1, "super().image(sample)")
    assert plain.table[0].tolist() == [True, True, False]
    relabelled = scan(2, "super().image(sample)")
    assert relabelled.table[0].tolist() == [True, False, True]
    assert relabelled.images == plain.images
    inverted = scan(2, "ImageOps.invert(super().image(sample))")
    assert inverted.labels == relabelled.labels
    assert not set(inverted.images) & set(plain.images)
    assert scan(2, "super().image(sample)  # plainly").images == plain.images


@pytest.mark.parametrize("damage", [b"", b"no zip", None])
def test_damaged_cache_is_made_again(damage: bytes | None, tiny_voc: Path, cache: Path, reads: list[str]) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    reads.clear()
    assert same(presence(load_dataset("voc", tiny_voc), "train"), first)
    assert len(reads) == 3
    reads.clear()
    presence(load_dataset("voc", tiny_voc), "train")
    assert reads == []


def test_any_flipped_byte_is_found_or_harmless(tiny_voc: Path, cache: Path) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        assert same(presence(load_dataset("voc", tiny_voc), "train"), first)


def test_lack_of_memory_is_not_taken_for_damage(tiny_voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    presence(load_dataset("voc", tiny_voc), "train")

    def fail(*args: object, **kwargs: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(MemoryError):
        presence(load_dataset("voc", tiny_voc), "train")


def test_further_files_of_a_sample(tiny_voc: Path, tree, reads: list[str]) -> None:
    class WithValues(Voc):
        def files(self, sample: str) -> tuple[Path, ...]:
            return (*super().files(sample), self.root / "values.txt")

    with pytest.raises(DataError, match="3 sample"):
        presence(WithValues(tiny_voc), "train")
    path = tree.text("VOCdevkit/VOC2012/values.txt", "1")
    presence(WithValues(tiny_voc), "train")
    reads.clear()
    presence(WithValues(tiny_voc), "train")
    assert reads == []
    path.write_text("12")
    presence(WithValues(tiny_voc), "train")
    assert len(reads) == 3


def test_cache_that_cannot_be_written(tiny_voc: Path, cache: Path) -> None:
    cache.write_text("a file where the directory should be")
    with pytest.warns(
        UserWarning, match="cannot be kept in .*set ISSBENCH_CACHE to a directory that can be written"
    ):
        found = presence(load_dataset("voc", tiny_voc), "train")
    assert found.table.any()


def test_no_partial_files_stay(tiny_voc: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.warns(UserWarning, match="disk full"):
        presence(load_dataset("voc", tiny_voc), "train")
    assert list(cache.iterdir()) == []


def test_broken_label_ends_the_scan(tiny_voc: Path, tree, reads: list[str]) -> None:
    tree.label("VOCdevkit/VOC2012/SegmentationClassAug/a.png", (21,))
    with pytest.raises(DataError, match=r"a\.png holds 21"):
        presence(load_dataset("voc", tiny_voc), "train")
    reads.clear()
    with pytest.raises(DataError, match=r"a\.png holds 21"):
        presence(load_dataset("voc", tiny_voc), "train")
    assert reads == ["a"]  # what was sound is known
    (tiny_voc / "SegmentationClassAug/a.png").unlink()
    with pytest.raises(
        DataError, match=r"1 sample\(s\) have no label file in the train split of voc in .*: a; add"
    ):
        presence(load_dataset("voc", tiny_voc), "train")


def test_cache_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("ISSBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "issbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "issbench"


def test_a_dataset_without_files(cache: Path) -> None:
    class Two(Dataset):
        name = "two"
        classes = ("thing",)

        def ids(self, split: str) -> tuple[str, ...]:
            return (f"{split}-0", f"{split}-1")

        def image(self, sample: str) -> Image.Image:
            return Image.new("L", (2, 2), 7 * sample.endswith("1"))

        def label(self, sample: str) -> np.ndarray:
            return np.full((2, 2), sample.endswith("1"), np.uint8)

        def files(self, sample: str) -> tuple[Path, ...]:
            return ()

    found = presence(Two(), "test")
    assert found.table.tolist() == [[True, False], [False, True]]
    assert len(set(found.images)) == len(set(found.labels)) == 2
    assert same(presence(Two(), "test"), found)
