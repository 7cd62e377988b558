"""Makes VOC-aug out of Pascal VOC 2012 and SBD: one directory of masks and the list train_aug.txt.

Needed once. What exists is kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from issbench.scenarios.archives import Archive, obtain
from issbench.scenarios.datasets import dataset_class
from issbench.scenarios.datasets.lists import read_ids
from issbench.scenarios.datasets.voc import LISTS, MASKS, Voc
from issbench.scenarios.errors import DataError, ScenarioError
from issbench.scenarios.presence import Progress

OFFICIAL_TRAIN, OFFICIAL_TEST = 10582, 1449
_VOC = "VOCdevkit/VOC2012"
_VOC_NEEDS = ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation/train.txt", LISTS["test"])
_SBD_HOMES = ("sbd", "benchmark_RELEASE/dataset")
_SBD_NEEDS = ("cls", "train.txt", "val.txt")
_VOC_ARCHIVE = Archive(
    title="Pascal VOC 2012",
    url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
    folder=_VOC,
)
_SBD_ARCHIVE = Archive(
    title="SBD",
    url="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    sha256="6a5a2918d5c73ce032fdeba876574d150d9d04113ab87540a1304cbcc715be53",
    folder=_SBD_HOMES[1],
)


@dataclass(frozen=True)
class Prepared:
    """What `prepare_voc` made."""

    directory: Path
    train: int
    test: int
    written: int
    """Masks written by this call; the others were there before."""
    warning: str | None
    """Set when the counts are not the official ones."""


def how_to_obtain(name: str) -> str:
    """For a dataset that needs no preparing: the layout that is expected and where the data come from."""
    return f"dataset {name} needs no preparing. {dataset_class(name).obtain}"


def prepare_voc(root: str | Path, download: bool = False, on_progress: Progress | None = None) -> Prepared:
    """Make `SegmentationClassAug/` and `train_aug.txt` in ROOT/VOCdevkit/VOC2012.

    Masks of VOC's own train and val lists are VOC's, the rest are converted from SBD. ScenarioError says
    which part is missing under `root`, DataError which file is broken or why a download failed.
    """
    root = Path(root).expanduser()
    voc = root / _VOC
    if not _is_complete(voc):
        if download:
            _download(root)
        written = _build(voc, _require_parts(root), on_progress)
    else:
        written = 0
    prepared = Voc(voc)
    train, test = len(prepared.ids("train")), len(prepared.ids("test"))
    warning = None
    if (train, test) != (OFFICIAL_TRAIN, OFFICIAL_TEST):
        warning = (
            f"{voc} has {train} train and {test} test images instead of {OFFICIAL_TRAIN} and "
            f"{OFFICIAL_TEST}: results on these data cannot be compared with published ones"
        )
    return Prepared(voc, train, test, written, warning)


def _is_complete(voc: Path) -> bool:
    """Whether nothing is left to do; then SBD need not be there any more."""
    try:
        dataset = Voc(voc)
    except ScenarioError:
        return False
    return not _missing(voc / MASKS, ".png", [*dataset.ids("train"), *dataset.ids("test")])


def _missing(folder: Path, suffix: str, ids: list[str]) -> list[str]:
    have = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return [sample for sample in ids if f"{sample}{suffix}" not in have]


def _download(root: Path) -> None:
    wanted = [(_VOC_ARCHIVE, bool(_voc_lacks(root))), (_SBD_ARCHIVE, _find_sbd(root) is None)]
    for archive in (archive for archive, lacks in wanted if lacks):
        try:
            obtain(archive, root)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"the download of {archive.title} to {root} failed: {error}. Try again, or fetch {archive.url} "
                f"by other means and put it there, or have these exist: {_layout(root)}"
            ) from None


def _layout(root: Path) -> str:
    voc = f"{root / _VOC} with {', '.join(_VOC_NEEDS)}"
    return f"{voc}; {' or '.join(str(root / home) for home in _SBD_HOMES)} with {', '.join(_SBD_NEEDS)}"


def _voc_lacks(root: Path) -> list[str]:
    return [str(root / _VOC / part) for part in _VOC_NEEDS if not (root / _VOC / part).exists()]


def _find_sbd(root: Path) -> Path | None:
    for home in _SBD_HOMES:
        if all((root / home / part).exists() for part in _SBD_NEEDS):
            return root / home
    return None


def _require_parts(root: Path) -> Path:
    """The directory of SBD; ScenarioError if it or a part of VOC is missing."""
    missing = _voc_lacks(root)
    sbd = _find_sbd(root)
    if sbd is None:
        homes = " or ".join(str(root / home) for home in _SBD_HOMES)
        missing.append(f"{', '.join(_SBD_NEEDS)} of SBD in {homes}")
    if missing or sbd is None:
        raise ScenarioError(f"cannot prepare voc, missing: {'; '.join(missing)}. Put them there, or use --download")
    return sbd


def _build(voc: Path, sbd: Path, on_progress: Progress | None) -> int:
    """Write the masks that are not there yet and then the list if there is none; the number of masks written."""
    own_train = read_ids(voc / "ImageSets/Segmentation/train.txt")
    test = read_ids(voc / LISTS["test"])
    sbd_ids = read_ids(sbd / "train.txt") + read_ids(sbd / "val.txt")
    train = sorted({*own_train, *sbd_ids} - {*test})  # sorted is the order of the published list
    own = {*own_train, *test}
    ids = [*train, *test]
    _require_files(voc / "JPEGImages", ".jpg", ids)
    _require_files(voc / "SegmentationClass", ".png", sorted(own))
    _require_files(sbd / "cls", ".mat", [sample for sample in train if sample not in own])
    masks = voc / MASKS
    todo = _missing(masks, ".png", ids)
    for done, sample in enumerate(todo, len(ids) - len(todo) + 1):
        target = masks / f"{sample}.png"
        if sample in own:
            source = voc / "SegmentationClass" / target.name
            _write(target, partial(shutil.copyfile, source))
        else:
            _write(target, partial(read_sbd_mask(sbd / "cls" / f"{sample}.mat").save, format="PNG"))
        if on_progress:
            on_progress(done, len(ids))
    if not (voc / LISTS["train"]).exists():  # one that is there may be the user's own
        _write(voc / LISTS["train"], lambda path: path.write_text("".join(f"{sample}\n" for sample in train)))
    return len(todo)


def _require_files(folder: Path, suffix: str, ids: list[str]) -> None:
    missing = _missing(folder, suffix, ids)
    if missing:
        some = ", ".join(sample + suffix for sample in missing[:5]) + (", …" if len(missing) > 5 else "")
        raise DataError(
            f"{folder} lacks {len(missing)} of {len(ids)} files: {some}; if it was not unpacked completely, "
            "remove it and unpack or download it again"
        )


def read_sbd_mask(path: Path) -> Image.Image:
    """The classes 0 … 20 of an SBD annotation as a palette image. DataError if the file is broken."""
    from scipy.io import loadmat

    try:
        classes = loadmat(path)["GTcls"][0]["Segmentation"][0]
    except Exception as error:  # a damaged file makes scipy fail in any way whatever
        raise DataError(f"{path} is not a readable SBD annotation ({error}); unpack SBD again") from None
    if classes.ndim != 2 or classes.dtype != np.uint8 or classes.max(initial=0) > len(Voc.classes):
        raise DataError(f"{path} does not hold classes 0–{len(Voc.classes)}; unpack SBD again")
    image = Image.fromarray(np.ascontiguousarray(classes))
    image.putpalette(voc_palette())
    return image


def voc_palette() -> bytes:
    """VOC's 256 colours, red, green and blue in turn: bit 3k + c of the index is bit 7 - k of colour c."""
    index = np.arange(256)[:, None]
    bits = (index >> (3 * np.arange(8)[:, None, None] + np.arange(3))) & 1  # [8, 256, 3]
    return (bits << np.arange(7, -1, -1)[:, None, None]).sum(0).astype(np.uint8).tobytes()


def _write(target: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all, so that an existing file is a finished one."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(exist_ok=True)
        write(partial)
        partial.replace(target)
    except OSError as error:
        raise DataError(
            f"cannot write {target}: {error}; make room or give write access, then run this again: "
            "it goes on where it stopped"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
