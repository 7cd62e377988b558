"""The numbers that the paper prints (Tables I to VIII), and those of other papers, as data. Nothing is measured.

`numbers.csv` has one printed number per row, as printed. `misprints.csv` has the cells `all` that do not follow
from the groups printed beside them by more than 0.15, under no convention of counting: misprints, or mixed sources.
`others.csv` has what the authors of other methods print of them, and `sources.csv` where.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

OTHERS = ("voc", "ade")
"""The tables of other papers' numbers: one for each dataset."""
TABLES = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")


@dataclass(frozen=True)
class Number:
    """One printed number.

    `table` is one of TABLES, or of OTHERS. `classes` is the group as printed, `all`, or `hIoU`; `order` is A … E or
    `average` in Table VI and empty elsewhere. `value` and `std` (population standard deviation, averages of Table
    VI only) are mIoU in %, printed with one decimal, by other papers often with two. `note` is that of the
    transcription (`re-implemented`; in Tables V and VII what the row is), `misprint` says what is wrong with the
    number, if anything, `source` where a number of another paper stands.
    """

    table: str
    method: str
    dataset: str
    scenario: str
    setting: str
    order: str
    classes: str
    value: float
    std: float | None
    note: str
    misprint: str = ""
    source: str = ""

    @property
    def upper_bound(self) -> bool:
        """Whether the row was trained on all data, and does not compete for best and second."""
        return self.method == "Joint"

    @property
    def facts(self) -> dict[str, str]:
        """The `name=value` entries of the note, such as lambda1 in Table VII and sg in Table V."""
        pairs = (part.partition("=") for part in self.note.split(";"))
        return {name: value for name, equals, value in pairs if equals}

    @property
    def status(self) -> str:
        """How sure the transcription is of the row in Table V: certain, likely, ambiguous; elsewhere empty."""
        last = self.note.rpartition(";")[2]
        return last if self.table == "V" else ""


@cache
def published(*tables: str) -> tuple[Number, ...]:
    """The printed numbers of these tables (`"I"` … `"VIII"`, by default all of these; `"voc"` and `"ade"` of other
    papers), in the order of print."""
    wrong = [name for name in tables if name not in (*TABLES, *OTHERS)]
    if wrong:
        raise ValueError(f"the paper has no table {wrong[0]!r}; it has {', '.join(TABLES)}")
    wanted = tables or TABLES
    return tuple(number for number in _all() if number.table in wanted)


@cache
def _all() -> tuple[Number, ...]:
    misprints = {tuple(row.values())[:5]: row["remark"] for row in _rows("misprints.csv")}
    numbers = []
    for row in _rows("numbers.csv"):
        value, std = float(row.pop("value")), row.pop("std")
        where = (row["table"], row["method"], row["dataset"], row["scenario"], row["setting"])
        remark = misprints.get(where, "") if row["classes"] == "all" else ""
        numbers.append(Number(**row, value=value, std=float(std) if std else None, misprint=remark))
    return (*numbers, *_others())


def _others() -> Iterator[Number]:
    sources = {row["source"]: row["text"] for row in _rows("sources.csv")}
    for row in _rows("others.csv"):
        text, value = sources[row.pop("source")], float(row.pop("value"))
        yield Number(row["dataset"], **row, order="", value=value, std=None, note="", source=text)


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = (files(__package__) / name).read_text(encoding="utf-8")
    return iter(csv.DictReader(text.splitlines()))
