"""The paper's numbers as data: equal to the transcription, typed, with what is wrong with some of them."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from pathlib import Path

import pytest

from issbench.results.published import OTHERS, TABLES, published
from issbench.scenarios.scenario import parse_name

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "paper" / "published.csv"


def test_every_number_is_that_of_the_transcription() -> None:
    if not BESIDE.is_file():
        pytest.skip(f"no transcription of the paper in {BESIDE}")
    rows = list(csv.DictReader(BESIDE.read_text(encoding="utf-8").splitlines()))
    numbers = published()
    assert len(numbers) == len(rows) == 544
    for number, row in zip(numbers, rows, strict=True):
        assert f"{number.value:.1f}" == row["value"]
        assert ("" if number.std is None else f"{number.std:.1f}") == row["std"]
        names = ("table", "method", "dataset", "scenario", "setting", "order", "classes", "note")
        assert [getattr(number, name) for name in names] == [row[name] for name in names]


def test_counts_of_each_table() -> None:
    counts = Counter(number.table for number in published())
    assert [counts[name] for name in TABLES] == [204, 144, 84, 24, 36, 30, 10, 12]
    assert {number.table for number in published("II", "IV")} == {"II", "IV"}


def test_numbers_of_other_papers_name_their_source() -> None:
    numbers = published(*OTHERS)
    assert {number.table for number in numbers} == {*OTHERS} and len(numbers) == 147
    assert all(n.source and not n.misprint and 0 < n.value < 100 for n in numbers)
    assert not any(n.source for n in published())
    places = [(n.method, n.dataset, n.scenario, n.setting, n.classes) for n in numbers]
    assert len({*places}) == len(places)
    for number in numbers:
        assert re.search(r"github\.com/\S+, [0-9a-f]{7}\b", number.source)
        parse_name(f"{number.dataset}_{number.scenario}")
        assert number.setting in ("overlapped", "disjoint")
    found = dict(zip(places, (n.value for n in numbers), strict=True))
    assert found["DKD-M", "voc", "15-1", "disjoint", "hIoU"] == 60.32
    assert found["SSUL", "ade", "100-5", "overlapped", "all"] == 32.48
    assert found["PLOP+UCD", "voc", "15-5", "overlapped", "16-20"] == 51.8


def test_means_of_other_papers_follow_from_their_groups() -> None:
    """Of 15 or 19 and 5 or 1 classes and the background, whose IoU is high: no mean lies outside the groups."""
    numbers = [n for n in published("voc") if "README" not in n.source]
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for n in numbers:
        rows.setdefault((n.method, n.scenario, n.setting), {})[n.classes] = n.value
    assert len(rows) == 15
    for (method, scenario, _), row in rows.items():
        (base, new), old = (value for name, value in row.items() if name != "all"), int(scenario.split("-")[0])
        without = (old * base + (20 - old) * new) / 20
        if method == "REMINDER":  # its first group has the background
            assert row["all"] == pytest.approx(((old + 1) * base + (20 - old) * new) / 21, abs=0.05)
        else:
            assert without - 0.1 <= row["all"] <= (20 * without + 100) / 21


def test_numbers_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        published()[0].value = 99.0  # type: ignore[misc]


def test_an_unknown_table() -> None:
    with pytest.raises(ValueError, match="no table 'IX'; it has I, II"):
        published("IX")


def test_notes_are_read() -> None:
    (one,) = (n for n in published("VII") if n.facts == {"lambda1": "0.3", "lambda2": "0.1"})
    assert one.value == 70.3 and one.status == ""
    statuses = Counter(n.status for n in published("V") if n.classes == "all")
    assert statuses == {"certain": 6, "likely": 2, "ambiguous": 4}


def test_misprints_stand_on_the_cell_that_is_wrong() -> None:
    wrong = [n for n in published() if n.misprint]
    assert len(wrong) == 7 and {n.classes for n in wrong} == {"all"}
    (one,) = (n for n in wrong if n.table == "II" and n.method == "RCIL")
    assert one.misprint.startswith(f"printed {one.value}")
    # 11 classes of 55.4 and 10 of 15.1 give 36.2, not the 34.3 that is printed.
    assert "give 36.2" in one.misprint
    for number in wrong:
        assert f"printed {number.value}," in number.misprint
