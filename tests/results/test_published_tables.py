"""The paper's tables, read back from what is rendered: every digit, in every format."""

from __future__ import annotations

import re

import pytest
from table_readers import READERS

from issbench.results.make_tables import published_tables
from issbench.results.published import Number, published
from issbench.results.render import render
from issbench.results.render.terminal import render as render_terminal
from issbench.results.table import TableError

PRINTED = {
    "main": ("I", "II", "III"), "domain": ("IV",), "ablation": ("V",), "class-order": ("VI",),
    "hyperparameters": ("VII",), "combination": ("VIII",),
}  # fmt: skip
STUBS = {"ablation": 5}


def expected(table: str) -> list[str]:
    """The numbers of a table in reading order, as printed."""
    return [f"{n.value:.1f}" + (f" ± {n.std:.1f}" if n.std is not None else "") for n in published(table)]


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize("name", PRINTED)
def test_every_digit_as_printed(name: str, format: str) -> None:
    tables = published_tables(name)
    assert len(tables) == len(PRINTED[name])
    for table, number in zip(tables, PRINTED[name], strict=True):
        text = render([table], format)  # type: ignore[arg-type]
        assert READERS[format](text, STUBS.get(name, 1)) == expected(number)


@pytest.mark.parametrize("name", PRINTED)
def test_every_digit_in_a_terminal_however_narrow(name: str) -> None:
    for table, number in zip(published_tables(name), PRINTED[name], strict=True):
        wide = re.findall(r"\d+\.\d", body_of(render_terminal(table)))
        assert sorted(wide) == sorted(re.findall(r"\d+\.\d", body_of(render_terminal(table, width=60))))
        found = [value for text in expected(number) for value in text.split(" ± ")]
        heads = [text for head in table.heads for text in re.findall(r"\d+\.\d", head[-1])]
        stubs = [str(cell) for row in table.cells for cell in row[: table.stubs] if re.match(r"\d+\.\d", str(cell))]
        assert sorted(wide) == sorted(found + heads + stubs)


def body_of(text: str) -> str:
    return text.partition("\n")[2].rpartition("───")[0]


def test_heads_name_each_number() -> None:
    (first, _, third) = published_tables("main")
    found = {
        (str(row[0]), *head): cell.value
        for row in first.cells
        for head, cell in zip(first.heads[1:], row[1:], strict=True)
        if cell.value is not None
    }
    assert found == {key(number): number.value for number in published("I")}
    # Table III is overlapped alone: the title says so, and the heads need not.
    assert "overlapped" in third.title and third.heads[1] == ("100-50 (2 steps)", "1-100")


def key(number: Number) -> tuple[str, ...]:
    steps = {"19-1": 2, "10-10": 2, "15-1": 6}[number.scenario]
    return number.method, f"{number.scenario} ({steps} steps)", number.setting.capitalize(), number.classes


def test_the_best_two_of_a_column_without_the_upper_bound() -> None:
    first = published_tables("main")[0]
    column = {str(row[0]): row[-1].rank for row in first.cells}
    assert {name: rank for name, rank in column.items() if rank} == {"GSC": 1, "RCIL": 2}
    assert column["Joint"] == 0  # 77.4, which is more than either


def test_misprints_and_doubts_are_footnotes_and_missing_numbers_are_told() -> None:
    first = published_tables("main")[0]
    assert [text.partition(",")[0] for text in first.footnotes] == ["printed 46.5", "printed 74.0"]
    assert "–: not printed." in first.notes and sum(row.count("–") for row in first.rows) == 12
    text = render([first], "markdown")
    assert "46.5ᵃ" in text and "ᵃ printed 46.5, but the groups beside it give 47.4" in text
    ablation = published_tables("ablation")[0]
    assert ablation.cells[1][0].footnote.endswith("read as PLOP+SR (ambiguous)")
    assert not ablation.cells[0][0].footnote


def test_check_marks_of_the_ablation() -> None:
    (table,) = published_tables("ablation")
    assert [head[-1] for head in table.heads] == ["PLOP", "PR", "SG", "SR", "SC", "0-10", "11-20", "all"]
    assert table.rows[0] == ["✓", "", "", "", "", "9.7", "7.0", "8.4"]
    assert table.rows[-1] == ["✓", "✓", "✓", "✓", "✓", "34.2", "6.1", "20.8"]


def test_a_part_of_the_paper() -> None:
    (only,) = published_tables("main", scenario="voc_15-5", setting="disjoint")
    assert only.heads == [("method",), ("0-15",), ("16-20",), ("all",)]
    assert only.rows[-1] == ["GSC", "74.4", "45.8", "67.6"]


def test_numbers_of_other_papers_with_their_sources() -> None:
    voc, ade = published_tables("hiou")
    assert voc.title.startswith("Other papers: ") and ade.title.endswith("(ade, overlapped)")
    (table,) = published_tables("hiou", scenario="voc_15-1", setting="overlapped")
    assert [head[-1] for head in table.heads] == ["method", "base", "new", "all", "hIoU"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["DKD"] == ["–", "–", "70.5", "57.5"] and rows["REMINDER"] == ["68.3", "27.2", "58.5", "–"]
    assert any("cvlab-yonsei/DKD" in footnote for footnote in table.footnotes)
    assert table.notes[0].startswith("Numbers of other papers")


@pytest.mark.parametrize("name", ["steps", "forgetting"])
def test_what_the_paper_only_draws(name: str) -> None:
    with pytest.raises(TableError, match="only draws"):
        published_tables(name)


def test_a_scenario_that_is_not_in_the_paper() -> None:
    with pytest.raises(TableError, match=r"nothing on shapes_4-1") as info:
        published_tables("main", scenario="shapes_4-1")
    assert info.value.exit_code == 2


def test_an_unknown_name() -> None:
    with pytest.raises(TableError, match="no table 'mian'; did you mean main or domain"):
        published_tables("mian")
