"""Datasets of other packages: one file with one class, and an entry point; the example is that of docs/data.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

OTHERS = """

class Thief(Fields):
    name = "voc"


class Aerial(Fields):
    name = "aerial_fields"


class Misnamed(Fields):
    name = "other"


class NotOne:
    name = "nothing"
"""
ENTRIES = """
[issbench.datasets]
fields = issbench_fields:Fields
aerial_fields = issbench_fields:Aerial
voc = issbench_fields:Thief
wrong = issbench_fields:Misnamed
nothing = issbench_fields:NotOne
gone = package_that_is_gone:Gone
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A directory with an installed package that has datasets."""
    home = tmp_path / "site"
    meta = home / "their_fields-1.0.dist-info"
    meta.mkdir(parents=True)
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"`fields/issbench_fields\.py`\n\n```python\n(.*?)```", page, flags=re.DOTALL)
    (home / "issbench_fields.py").write_text(example + OTHERS)
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: their_fields\nVersion: 1.0\n")
    (meta / "entry_points.txt").write_text(ENTRIES)
    return home


def python(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter in which the package is installed."""
    paths = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": paths},
        cwd=package.parent,
    )


@pytest.fixture
def fields(tree) -> Path:
    """Data in the layout of the package."""
    for split, names in {"train": "abc", "test": "v"}.items():
        for place, name in enumerate(names, 1):
            tree.image(f"fields/{split}/{name}.jpg")
            tree.label(f"fields/{split}/{name}.png", (0, place))
    return tree.root / "fields"


def test_stats_of_a_dataset_of_another_package(package: Path, fields: Path) -> None:
    command = ("-m", "issbench", "data", "stats", "fields_1-1", "--root", str(fields))
    done = python(package, *command, "--order", "harvest")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "fields_1-1, disjoint, order harvest, protocol plop",
        "step 0: 1 training images, 0 test images",
        f"    {'rye':<24}{1:>7}",
        "step 1: 1 training images, 1 test images",
        f"    {'wheat':<24}{1:>7}",
        "step 2: 1 training images, 1 test images",
        f"    {'maize':<24}{1:>7}",
    ]


def test_it_is_checked_listed_and_has_its_recipe(package: Path, fields: Path) -> None:
    done = python(package, "-m", "issbench", "data", "check", "fields", "--root", str(fields))
    assert done.stdout.endswith("\nfields: all 4 samples are sound\n"), done.stderr  # after a note of classes
    assert "fields" in python(package, "-m", "issbench", "data", "check", "--help").stdout
    listed = python(package, "-m", "issbench", "list", "scenarios").stdout
    assert "fields_1-1  fields_2-1   (default setting: disjoint)" in listed
    assert "harvest      fields: 3,1,2" in python(package, "-m", "issbench", "list", "orders").stdout
    code = (
        "from issbench.bench.recipe import make_recipe\n"
        "recipe = make_recipe('fields', {'crop': '32'})\n"
        "print(recipe.epochs, recipe.crop, recipe.batch)"
    )
    assert python(package, "-c", code).stdout.split() == ["7", "32", "24"]
    unknown = python(package, "-m", "issbench", "data", "stats", "field_1-1")
    assert "did you mean fields_1-1" in unknown.stderr
    assert python(package, "-m", "issbench", "data", "stats", "fields").returncode == 2


def test_a_name_may_hold_the_sign_that_ends_it_in_scenarios(package: Path) -> None:
    code = (
        "from issbench.scenarios.scenario import parse_name\n"
        "print(*parse_name('aerial_fields_2-1'), *parse_name('fields_1-1'))"
    )
    assert python(package, "-c", code).stdout.split() == ["aerial_fields", "2", "1", "fields", "1", "1"]


def test_a_built_in_dataset_cannot_be_replaced(package: Path) -> None:
    code = "from issbench.scenarios.datasets import dataset_class; print(dataset_class('voc').__module__)"
    assert python(package, "-c", code).stdout.split() == ["issbench.scenarios.datasets.voc"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "wrong",
            "dataset wrong: issbench_fields:Misnamed is not a .*Dataset with name = 'wrong'; correct the package",
        ),
        ("nothing", "dataset nothing: issbench_fields:NotOne is not a .*Dataset with name = 'nothing'"),
        ("gone", "dataset gone cannot be loaded from package_that_is_gone:Gone .*ModuleNotFoundError.*; repair"),
    ],
)
def test_broken_entries_are_an_error_where_they_are_asked_for(name: str, message: str, package: Path) -> None:
    code = (
        "import re, sys\n"
        "from issbench.errors import UsageError\n"
        "from issbench.scenarios.datasets import dataset_class, dataset_names\n"
        "assert sys.argv[1] in dataset_names()\n"
        "try:\n"
        "    dataset_class(sys.argv[1])\n"
        "except UsageError as error:\n"
        "    print(re.search(sys.argv[2], str(error)) is not None, error)"
    )
    done = python(package, "-c", code, name, message)
    assert done.stdout.startswith("True"), done.stdout + done.stderr
