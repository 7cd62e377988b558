"""Names with signs that mean something to TeX, HTML, a spreadsheet, a terminal or matplotlib are shown as they are,
but for what cannot be shown, in every format."""

from __future__ import annotations

import csv
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from commands import bench
from made_records import one_record, write_run

from issbench.results.figures import FIGURES, save_figure
from issbench.results.figures.images import PictureRow, image_grid, legend_figure
from issbench.results.runs import Run, load_runs

LATEX = {
    "cost $x^2$": r"cost \$x\textasciicircum{}2\$",
    "$": r"\$",
    "a_b": r"a\_b",
    "_hidden": r"\_hidden",
    "50 % {of}": r"50 \% \{of\}",
    "#1 & ~co": r"\#1 \& \textasciitilde{}co",
    r"C:\dir": r"C:\textbackslash{}dir",
    "<script>alert(1)</script>": r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{}",
    "two\nlines": "two lines",
    "a\tb": "a b",
    "\x1b[31mred": "?{[}31mred",
    "\u202eright": "?right",
    "\u2067isolated": "?isolated",
    "=1+2|cmd": r"=1+2\textbar{}cmd",
    "@sum": "@sum",
    "+a": "+a",
    "`*b*`": "`*b*`",
    "-->": r"--\textgreater{}",
    "%d {0} %s": r"\%d \{0\} \%s",
}
"""Names, each with what LaTeX needs to print it."""
SHOWN = {name: re.sub("[\x1b\u202e\u2067]", "�", re.sub("[\n\t]", " ", name)) for name in LATEX}
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run for each name, which is the title of its method; all names are classes."""
    out = tmp_path_factory.mktemp("names")
    for place, name in enumerate(LATEX):
        record = one_record(f"m{place:02}", "voc_4-3", classes=[*LATEX])
        record["method"]["title"] = name
        write_run(out, f"run{place:02}", record)
    return out


@pytest.fixture(scope="module")
def runs(store: Path) -> list[Run]:
    return load_runs(store)


def test_the_terminal(store: Path) -> None:
    table, one = bench("table", "--out", store), bench("show", "run00", "--out", store)
    for text in (table, one):
        lines = [line.strip() for line in text.splitlines()]
        assert all(any(line.startswith(name + " ") for line in lines) for name in SHOWN.values())
        assert not STEERING.search(text)


def test_latex(store: Path) -> None:
    body = bench("table", "--out", store, "--format", "latex").partition(r"\midrule")[2]
    found = [line.partition(" & ")[0] for line in body.splitlines()[1 : len(LATEX) + 1]]
    assert sorted(found) == sorted(LATEX.values())


@pytest.mark.parametrize("table", ["main", "long"])
def test_no_cell_of_a_csv_is_a_formula(table: str, store: Path) -> None:
    rows = [*csv.reader(bench("table", table, "--out", store, "--format", "csv").splitlines())]
    cells = {cell for row in rows for cell in row}
    assert {("'" if name[0] in "=@+-" else "") + name for name in SHOWN.values()} <= cells
    assert not any(re.match(r"[=@]|[+-](?!\d)", cell) for cell in cells)
    assert len({len(row) for row in rows}) == 1


def test_markdown(store: Path) -> None:
    lines = bench("table", "--out", store, "--format", "markdown").splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    names = [re.sub(r"\\(.)", r"\1", row[0].strip()).replace("&lt;", "<").replace("&amp;", "&") for row in rows[2:]]
    assert sorted(names) == sorted(SHOWN.values())
    assert not any(re.search(r"(?<!\\)[*_`]|<", row[0]) for row in rows[2:])


class Page(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html(store: Path) -> None:
    page = Page()
    page.feed(bench("table", "--out", store, "--format", "html"))
    assert {*SHOWN.values()} <= {*page.texts} and "script" not in page.tags


def drawn(figure: object, path: Path) -> str:
    """All text of a figure as it is drawn: its letters, not their outlines."""
    with matplotlib.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, path)  # type: ignore[arg-type]
    return "\n".join(ElementTree.parse(path).getroot().itertext())


@pytest.mark.parametrize("name", ["steps", "forgetting", "class-steps"])
def test_figures_of_records(name: str, runs: list[Run], tmp_path: Path) -> None:
    few = runs[:1] if name == "class-steps" else runs
    text = drawn(FIGURES[name](few), tmp_path / "a.svg")
    assert [name for name in SHOWN.values() if name not in text] == []


def test_legends_of_pictures(tmp_path: Path) -> None:
    names = dict(enumerate([*SHOWN.values(), "ignored"]))
    labels = np.array([[*names, 255]], np.uint8)
    grid = image_grid([PictureRow([labels], name) for name in ("$a$", "_b")], ["50 %"], names)
    for figure in (grid, legend_figure(names)):
        text = drawn(figure, tmp_path / "a.svg")
        assert [name for name in names.values() if name not in text] == []
    assert len(grid.legends[0].get_texts()) == len(names) + 1  # a class may be named as ignored pixels are


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_other_kinds_of_files(kind: str, runs: list[Run], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(FIGURES["forgetting"](runs), tmp_path / f"a.{kind}")
