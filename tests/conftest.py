"""Fixtures for all tests: a cache of their own, and the real data where this machine has them. And which tests run
in one process, where pytest-xdist runs several side by side."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# The networks of the tests are so small that threads mostly wait for each other, very long on a busy machine. Read
# when torch is imported, also in the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SLURM = "tests/slurm/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests on the cluster come first: they are the longest piece of work for one process, and mostly wait."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLURM))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """As --dist loadfile: a file's tests share their fixtures in one process, files go where a process is free, in
    order. But all tests of one folder, which share a cluster and count its jobs, stay together."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return SLURM if nodeid.startswith(SLURM) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISSBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_measuring() -> Iterator[None]:
    """`--dry-run` measures nothing, which would take seconds; tests of what it measures give it time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("issbench.bench.engine.forecast.MOST_SECONDS", -1.0)
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The packs of real images: $ISSBENCH_DATA, else shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("ISSBENCH_DATA") or beside)
    if not path.is_dir():
        pytest.skip(f"no real data in {path}; set ISSBENCH_DATA")
    return path


@pytest.fixture(scope="session")
def voc_aug_root(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All 12,031 label maps of VOC-aug and its lists in VOC's layout; its images are gray, of the labels' sizes."""
    packed = data_dir / "voc_aug_labels"
    if not packed.is_dir():
        pytest.skip(f"no labels of VOC-aug in {packed}")
    root = tmp_path_factory.mktemp("voc_aug")
    with tarfile.open(packed / "masks.tar") as tar:
        tar.extractall(root, filter="data")
    (root / "JPEGImages").mkdir()
    gray: dict[tuple[int, int], bytes] = {}
    for mask in (root / "SegmentationClassAug").iterdir():
        with Image.open(mask) as opened:
            size = opened.size
        if size not in gray:
            made = io.BytesIO()
            Image.new("L", size, 128).save(made, "JPEG")
            gray[size] = made.getvalue()
        # What follows the end of a JPEG is not read; it makes each file another one.
        (root / "JPEGImages" / f"{mask.stem}.jpg").write_bytes(gray[size] + mask.stem.encode())
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name in ("train_aug.txt", "val.txt"):
        shutil.copy(packed / name, lists / name)
    yield root
    shutil.rmtree(root)  # pytest would keep it for three sessions


class Tree:
    """Writes small data files under one directory; every method returns the file."""

    def __init__(self, root: Path):
        self.root = root

    def image(self, name: str, size: tuple[int, int] = (4, 3), mode: str = "RGB") -> Path:
        """An image file, by default 4 wide and 3 high, in a colour of its own."""
        path = self._place(name)
        red, green, blue, _ = zlib.crc32(name.encode()).to_bytes(4, "big")
        Image.new(mode, size, (red, green, blue) if mode == "RGB" else red % 2).save(path)
        return path

    def label(self, name: str, values: Sequence[int] = (0,), size: tuple[int, int] = (4, 3)) -> Path:
        """A label file whose first pixels hold `values`; the last value fills the rest."""
        width, height = size
        pixels = np.full(width * height, values[-1], np.uint8)
        pixels[: len(values)] = values
        path = self._place(name)
        Image.fromarray(pixels.reshape(height, width)).save(path)
        return path

    def text(self, name: str, *lines: str) -> Path:
        """A text file."""
        path = self._place(name)
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def _place(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A writer of small data files in the test's own directory."""
    return Tree(tmp_path)


@pytest.fixture
def tiny_voc(tree: Tree) -> Path:
    """VOC's layout with the train images b, a, c (in this order) and the test image v."""
    home = "VOCdevkit/VOC2012"
    for sample, values in {"b": (0, 1, 255), "a": (20,), "c": (0, 15), "v": (0, 8)}.items():
        tree.image(f"{home}/JPEGImages/{sample}.jpg")
        tree.label(f"{home}/SegmentationClassAug/{sample}.png", values)
    second = "/JPEGImages/a.jpg /SegmentationClassAug/a.png"
    tree.text(f"{home}/ImageSets/Segmentation/train_aug.txt", "b", second, "", " c ")
    tree.text(f"{home}/ImageSets/Segmentation/val.txt", "v")
    return tree.root / home
