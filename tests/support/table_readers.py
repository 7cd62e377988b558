"""The numbers of a rendered table, read back in reading order. Missing ones (–) are left out."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser


def from_markdown(text: str, stubs: int) -> list[str]:
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")][2:]
    cells = [re.sub(r"<.*?>|[*ᵃᵇᶜᵈᵉᶠᵍʰ]", "", cell).strip() for row in rows for cell in row[stubs:]]
    return [cell for cell in cells if cell != "–"]


def from_csv(text: str, stubs: int) -> list[str]:
    """Rounded, as the other formats print them."""
    return [printed(row) for row in csv.DictReader(text.splitlines()) if row["value"]]


def printed(row: Mapping[str, str]) -> str:
    """The number of a line of CSV as a cell has it."""
    deviation = f" ± {float(row['sd']):.1f}" if row["sd"] else ""
    return f"{float(row['value']):z.1f}".replace("-", "−") + deviation


def from_latex(text: str, stubs: int) -> list[str]:
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()
    cells = []
    for line in body:
        for cell in line.removesuffix(r" \\").split(" & ")[stubs:]:
            cell = re.sub(r"\\rlap\{.*\}$", "", cell)
            cell = re.sub(r"^\\text(?:color\{\w+\}|bf)\{(.*)\}$", r"\1", cell)
            cells.append(cell.replace(r"$\pm$", "±").replace("$-$", "−"))
    return [cell for cell in cells if cell != "--"]


class Body(HTMLParser):
    """The texts of the cells of a table, without marks of footnotes."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("br",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-2:] == ["tr", "td"] and "tbody" in self.open:
            self.cells.append(data)


def from_html(text: str, stubs: int) -> list[str]:
    body = Body()
    body.feed(text)
    assert body.open == []
    return [cell for cell in body.cells if cell != "–"]


READERS: dict[str, Callable[[str, int], list[str]]] = {
    "markdown": from_markdown, "csv": from_csv, "latex": from_latex, "html": from_html,
}  # fmt: skip
