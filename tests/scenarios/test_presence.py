"""The presence table: what it says, when the cache is used, and when it is not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import Dataset, FileDataset
from issbench.scenarios.datasets.voc import Voc
from issbench.scenarios.errors import DataError
from issbench.scenarios.presence import Presence, cache_dir, presence


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
    return one.ids == other.ids and one.content == other.content and np.array_equal(one.table, other.table)


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


def test_changed_label_is_noticed(tiny_voc: Path, tree) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    path = tree.label("VOCdevkit/VOC2012/SegmentationClassAug/a.png", (19,))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    second = presence(load_dataset("voc", tiny_voc), "train")
    assert np.flatnonzero(second.table[1]).tolist() == [19]
    assert second.content != first.content


def test_content_depends_on_labels_only(tiny_voc: Path, reads: list[str]) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    reads.clear()
    os.utime(tiny_voc / "SegmentationClassAug/a.png", ns=(0, 0))
    assert same(presence(load_dataset("voc", tiny_voc), "train"), first)
    assert len(reads) == 3


def test_content_sees_pixels_that_the_table_does_not(tiny_voc: Path, tree) -> None:
    first = presence(load_dataset("voc", tiny_voc), "train")
    tree.label("VOCdevkit/VOC2012/SegmentationClassAug/c.png", (0, 0, 0, 15))
    second = presence(load_dataset("voc", tiny_voc), "train")
    assert np.array_equal(first.table, second.table)
    assert first.content != second.content


def test_list_and_class_names_are_part_of_the_key(
    tiny_voc: Path, tree, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    presence(load_dataset("voc", tiny_voc), "train")
    tree.text("VOCdevkit/VOC2012/ImageSets/Segmentation/train_aug.txt", "c", "b")
    assert presence(load_dataset("voc", tiny_voc), "train").ids == ("c", "b")
    reads.clear()
    monkeypatch.setattr(Voc, "classes", (*Voc.classes[:-1], "screen"))
    presence(load_dataset("voc", tiny_voc), "train")
    assert len(reads) == 2


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


def test_broken_label_ends_the_scan(tiny_voc: Path, tree, cache: Path) -> None:
    tree.label("VOCdevkit/VOC2012/SegmentationClassAug/a.png", (21,))
    with pytest.raises(DataError, match=r"a\.png holds 21"):
        presence(load_dataset("voc", tiny_voc), "train")
    assert not cache.exists()
    (tiny_voc / "SegmentationClassAug/a.png").unlink()
    with pytest.raises(DataError, match=r"label file .*a\.png cannot be read: No such file"):
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

        def image(self, sample: str) -> None:
            raise AssertionError("no image is needed")

        def label(self, sample: str) -> np.ndarray:
            return np.full((2, 2), sample.endswith("1"), np.uint8)

        def fingerprint(self, split: str) -> str:
            return "fixed"

    assert presence(Two(), "test").table.tolist() == [[True, False], [False, True]]
