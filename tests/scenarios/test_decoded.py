"""Decoded pairs are kept: they are those of the files, whatever happens to what is kept."""

from __future__ import annotations

import copy
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_folder import small_folder

from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.decoded import Pair, Pairs
from issbench.scenarios.errors import DataError
from issbench.scenarios.presence import presence


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path / "cache"))
    return small_folder(tmp_path / "data")


def pairs_of(data: Path) -> Pairs:
    dataset = load_dataset("folder", data)
    return Pairs(dataset, presence(dataset, "train"), presence(dataset, "test"))


def same(one: Pair, other: Pair) -> bool:
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def without_files(pairs: Pairs, sample: str) -> Pair:
    """A pair that can only be a kept one."""
    gone = copy.copy(pairs)
    gone._checked = set()
    hidden = [(path, path.with_name(f"hidden {path.name}")) for path in pairs.dataset.files(sample)]
    for path, away in hidden:
        path.rename(away)
    try:
        return gone.pair(sample)
    finally:
        for path, away in hidden:
            away.rename(path)


def test_a_kept_pair_is_that_of_the_files(data: Path) -> None:
    pairs = pairs_of(data)
    for sample in (*pairs.dataset.ids("train"), *pairs.dataset.ids("test")):
        plain = Pairs(pairs.dataset).pair(sample)
        assert same(pairs.pair(sample), plain) and same(without_files(pairs, sample), plain)


def test_another_copy_of_the_data_shares_it(data: Path, tmp_path: Path) -> None:
    pairs = pairs_of(data)
    sample = pairs.dataset.ids("train")[0]
    shutil.copytree(data, tmp_path / "copy")
    assert pairs_of(tmp_path / "copy").path(sample) == pairs.path(sample)


@pytest.mark.parametrize("place", [0, 17, 20, 100, -1])
def test_a_damaged_one_is_decoded_again_and_mended(data: Path, place: int) -> None:
    pairs = pairs_of(data)
    sample = pairs.dataset.ids("train")[0]
    wanted, kept = pairs.pair(sample), pairs.path(sample)
    content = bytearray(kept.read_bytes())
    content[place] ^= 1
    for wrong in (content, content[:place], b""):
        kept.write_bytes(wrong)
        assert same(pairs_of(data).pair(sample), wanted)
        assert same(without_files(pairs, sample), wanted)
    kept.write_bytes(content[:-5])  # while this process, which found it whole, goes on
    assert same(pairs.pair(sample), wanted)


def test_one_under_the_name_of_another_is_not_taken_for_it(data: Path) -> None:
    pairs = pairs_of(data)
    first, second = pairs.dataset.ids("train")[:2]
    wanted = pairs.pair(first)
    pairs.pair(second)
    shutil.copyfile(pairs.path(second), pairs.path(first))
    assert same(pairs_of(data).pair(first), wanted)


@pytest.mark.parametrize("which", [0, 1])
def test_files_that_change_after_they_were_fingerprinted_end_the_work(data: Path, which: int) -> None:
    """The run bears the name of what was there before, and the next one must not find another image under it."""
    pairs = pairs_of(data)
    sample = pairs.dataset.ids("train")[0]
    path = pairs.dataset.files(sample)[which]
    pixels = np.array(Image.open(path))
    pixels[0] = 1
    Image.fromarray(pixels).save(path, format="PNG")
    with pytest.raises(DataError, match="changed while the command ran"):
        pairs.pair(sample)
    assert not pairs.path(sample).exists()
    assert same(pairs_of(data).pair(sample), Pairs(pairs.dataset).pair(sample))


def test_nothing_is_kept_on_a_disk_that_is_nearly_full(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000_000_000, 901_000_000, 99_000_000))
    pairs = pairs_of(data)
    sample = pairs.dataset.ids("train")[0]
    assert same(pairs.pair(sample), Pairs(pairs.dataset).pair(sample))
    assert not pairs.path(sample).exists()


def test_nor_where_nothing_can_be_written(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pairs_of(data)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ISSBENCH_CACHE", str(tmp_path / "file"))
    sample = pairs.dataset.ids("train")[0]
    assert same(pairs.pair(sample), Pairs(pairs.dataset).pair(sample))


def test_nor_of_what_is_made_in_memory() -> None:
    shapes: Dataset = load_dataset("shapes", None)
    pairs = Pairs(shapes, presence(shapes, "train"))
    assert not pairs._contents
