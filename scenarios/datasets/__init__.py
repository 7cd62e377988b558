"""The datasets by name: the built-in ones, and those that other packages declare under the entry-point group
`issbench.datasets`. A dataset's module is imported only when it is asked for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from issbench.errors import UsageError
from issbench.plugins import load_class, registered
from issbench.scenarios.errors import unknown_name

if TYPE_CHECKING:
    from issbench.scenarios.datasets.base import Dataset

GROUP = "issbench.datasets"
_BUILT_IN = {
    "voc": "issbench.scenarios.datasets.voc:Voc",
    "ade": "issbench.scenarios.datasets.ade:Ade",
    "cityscapes": "issbench.scenarios.datasets.cityscapes:Cityscapes",
    "camvid": "issbench.scenarios.datasets.camvid:CamVid",
    "shapes": "issbench.scenarios.datasets.shapes:Shapes",
    "folder": "issbench.scenarios.datasets.folder:Folder",
}


def dataset_names() -> tuple[str, ...]:
    """Names of all datasets."""
    return tuple(registered(GROUP, _BUILT_IN))


def dataset_class(name: str) -> type[Dataset]:
    """The class of a dataset. All but `folder` know names and counts without data."""
    from issbench.scenarios.datasets.base import Dataset  # numpy and Pillow, for which lists of names need not wait

    known = registered(GROUP, _BUILT_IN)
    if name not in known:
        raise unknown_name("dataset", name, known)
    return load_class("dataset", name, known[name], Dataset)


def dataset_classes() -> dict[str, type[Dataset]]:
    """The classes of all datasets by name, for lists; one that cannot be loaded is left out, with a warning."""
    found: dict[str, type[Dataset]] = {}
    for name in dataset_names():
        try:
            found[name] = dataset_class(name)
        except UsageError as error:
            warnings.warn(str(error), stacklevel=2)
    return found


def load_dataset(name: str, root: str | Path | None) -> Dataset:
    """A dataset under a root directory. ScenarioError if the directory is missing or has another layout."""
    return dataset_class(name)(root)
