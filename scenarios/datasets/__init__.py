"""The datasets by name. A dataset's module is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.errors import unknown_name

_DATASETS = {
    "voc": "issbench.scenarios.datasets.voc:Voc",
    "ade": "issbench.scenarios.datasets.ade:Ade",
    "cityscapes": "issbench.scenarios.datasets.cityscapes:Cityscapes",
    "camvid": "issbench.scenarios.datasets.camvid:CamVid",
    "shapes": "issbench.scenarios.datasets.shapes:Shapes",
    "folder": "issbench.scenarios.datasets.folder:Folder",
}


def dataset_names() -> tuple[str, ...]:
    """Names of all datasets."""
    return tuple(_DATASETS)


def dataset_class(name: str) -> type[Dataset]:
    """The class of a dataset. All but `folder` know names and counts without data."""
    if name not in _DATASETS:
        raise unknown_name("dataset", name, _DATASETS)
    module, _, attribute = _DATASETS[name].partition(":")
    return getattr(import_module(module), attribute)


def load_dataset(name: str, root: str | Path | None) -> Dataset:
    """A dataset under a root directory. ScenarioError if the directory is missing or has another layout."""
    return dataset_class(name)(root)
