"""Tables of methods: which runs share one, means over seeds, notes, and their formats."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from made_records import ENVIRONMENT, one_record

from issbench.results.make_tables import main_tables, published_tables
from issbench.results.render import render
from issbench.results.runs import Run
from issbench.results.table import MISSING, Cell, Table, number_text, text_table


def test_no_number_is_a_zero_below_zero() -> None:
    assert [number_text(value) for value in (-0.04, -0.0, 0.04, -0.06)] == ["0.0", "0.0", "0.0", "−0.1"]
    assert [number_text(value, 2, signed=True) for value in (-0.004, 0.004, -1.0)] == ["+0.00", "+0.00", "−1.00"]
    cells = [Cell(text="GSC"), Cell(-0.04, 0.01), Cell(-0.0, signed=True)]
    table = Table("t", [("method",), ("a",), ("b",)], [cells])
    for format in ("terminal", "latex", "markdown", "html", "csv"):
        text = render([table], format)
        assert "−0.0" not in text and "$-$0" not in text and "-0.0<" not in text and '"-0.0"' not in text


def run(
    method: str = "ft", seed: int = 0, old: float | None = 50.0, new: float | None = 20.0,
    over_steps: float | None = 40.0, complete: bool = True, **changed: Any,
) -> Run:  # fmt: skip
    """A run of voc_15-1, with its mIoU after the first step and after the last one."""
    scores = [{"0-15": 70.0, "16-20": None, "all": 70.0}, {"0-15": old, "16-20": new, "all": 43.21}]
    record = one_record(method, seed=seed, scores=scores, over_steps=over_steps, complete=complete, **changed)
    return Run(Path(f"{method}-{seed}"), record)


def table(*runs: Run) -> Table:
    (only,) = main_tables(runs)
    return only


def row(tables: Table, method: str) -> dict[str, str]:
    (found,) = (cells for cells in tables.rows if cells[0] == method)
    return dict(zip(tables.header, found, strict=True))


def test_mean_and_sample_deviation_over_seeds() -> None:
    found = table(run(seed=0, old=50.0), run(seed=1, old=52.0), run(seed=2, old=57.0), run("plop", old=61.04))
    assert found.header == ["method", "0-15", "16-20", "all", "hIoU", "mean over steps", "seeds"]
    assert row(found, "FT") == {
        "method": "FT", "0-15": "53.0 ± 3.6", "16-20": "20.0 ± 0.0", "all": "43.2 ± 0.0",
        "hIoU": "29.0 ± 0.5", "mean over steps": "40.0 ± 0.0", "seeds": "3",
    }  # fmt: skip
    assert row(found, "PLOP")["0-15"] == "61.0"  # one seed has no deviation
    assert row(found, "PLOP")["seeds"] == "1"


def test_options_are_told_apart() -> None:
    found = table(run("gsc"), run("gsc:lambda1=0.5,sg=off"), run("gsc", seed=1))
    assert [cells[0] for cells in found.rows] == ["GSC", "GSC (lambda1=0.5,sg=off)"]
    assert [cells[-1] for cells in found.rows] == ["2", "1"]


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "mib"},
        {"recipe": {"lr": 0.01}},
        {"recipe": {"backbone": "resnet18"}},
        {"recipe": {"precision": "bf16"}},
        {"data": "77b1" + "0" * 28},
        {"order": "B"},
        {"classes": [f"class {c}" for c in range(20)]},
    ],
)
def test_runs_that_cannot_be_compared_never_share_a_table(other: dict[str, Any]) -> None:
    tables = main_tables([run("ft"), run("plop", **other), run("ft", **other), run("plop")])
    assert len(tables) == 2
    assert [[cells[0] for cells in one.rows] for one in tables] == [["FT", "PLOP"], ["PLOP", "FT"]]
    assert [cells[-1] for one in tables for cells in one.rows] == ["1"] * 4
    assert tables[0].title != tables[1].title


def test_tables_on_other_data_say_which() -> None:
    tables = main_tables([run("ft"), run("plop", data="77b1" + "0" * 28)])
    usual = "voc_15-1, overlapped, order natural"
    assert [table.title for table in tables] == [f"{usual}, data 3f2a91c4", f"{usual}, data 77b10000"]
    assert table(run("ft"), run("plop")).title == usual


def test_runs_that_were_not_made_alike_share_a_table_that_says_so() -> None:
    other = run("plop")
    for step in other.steps:
        assert step["training"]
        step["training"]["environment"] = {**ENVIRONMENT, "threads": 2, "gpu": "A100"}
    assert table(run("ft"), other).notes[1] == "Not made alike: 1 and 2 threads; H100 and A100."


def test_titles_and_explanation_name_what_was_compared() -> None:
    found = table(run(order="B", setting="disjoint", scenario="voc_1-1", classes=["cat", "dog"]))
    assert found.title == "voc_1-1, disjoint, order B, classes cat, dog"
    explanation = found.notes[0]
    assert "resnet101 (imagenet weights), crop 512, batch 24, epochs 30 + 30 per later step" in explanation
    assert "learning rate 0.01, then 0.001" in explanation
    assert "Evaluation protocol plop: void pixels in training ignored;" in explanation
    assert "epochs 50 + 30" in table(run(recipe={"first_epochs": 50})).notes[0]
    assert "hIoU: 2 · base · new / (base + new), of the mIoU of base and of new classes." in found.notes


def test_unfinished_runs_are_left_out_with_a_note() -> None:
    found = table(run(seed=0, old=50.0), run(seed=1, complete=False), run("plop", complete=False))
    assert row(found, "FT")["0-15"] == "50.0"
    assert row(found, "FT")["seeds"] == "1"
    assert set(found.rows[1][1:-1]) == {MISSING} and row(found, "PLOP")["seeds"] == "0"
    assert found.notes[1:3] == [
        "ft, seed 1: unfinished, 1 of 6 steps done; left out.",
        "plop, seed 0: unfinished, 1 of 6 steps done; left out.",
    ]


def test_a_scenario_without_hiou_has_no_column_for_it() -> None:
    assert table(run(new=None)).header == ["method", "0-15", "16-20", "all", "mean over steps", "seeds"]
    both = table(run(new=None), run("plop"))
    assert [row(both, method)["hIoU"] for method in ("FT", "PLOP")] == [MISSING, "28.6"]


def test_a_value_that_is_missing_is_no_zero() -> None:
    found = table(run("joint", new=None, over_steps=None))
    assert row(found, "Joint")["16-20"] == row(found, "Joint")["mean over steps"] == MISSING
    some = table(run(seed=0, new=None), run(seed=1, new=30.0))
    assert row(some, "FT")["16-20"] == MISSING  # a mean over some of the seeds would mislead
    assert row(some, "FT")["0-15"] == "50.0 ± 0.0"


def test_markdown() -> None:
    text = render([table(run(seed=0), run(seed=1, old=52.0), run("plop", complete=False))], "markdown")
    title, body, *notes = text.split("\n\n")
    assert title == "**voc_15-1, overlapped, order natural**"
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]
    assert lines[0] == ["method", "0-15", "16-20", "all", "hIoU", "mean over steps", "seeds"]
    assert all(set(cell) <= {"-", ":"} for cell in lines[1])
    assert lines[2] == ["FT", "51.0 ± 1.4", "20.0 ± 0.0", "43.2 ± 0.0", "28.7 ± 0.2", "40.0 ± 0.0", "2"]
    assert lines[3] == ["PLOP", *[MISSING] * 5, "0"]
    assert notes[0].startswith("mIoU (%) after the last step") and notes[1].startswith("plop, seed 0: unfinished")


def test_csv_has_a_line_for_each_number_with_what_it_rests_on() -> None:
    runs = [run("gsc:lambda1=0.5,sg=off"), run(seed=0), run(seed=1, old=52.0), run("rcil", new=None, imported=True)]
    rows = [*csv.DictReader(io.StringIO(render([table(*runs)], "csv")))]
    assert [*rows[0]] == [
        "table", "method", "column", "value", "sd", "sd_kind", "n", "rank", "misprint", "note",
    ]  # fmt: skip
    found = {(row["method"], row["column"]): row for row in rows}
    assert len(found) == len(rows) == 3 * 5  # of 0-15, 16-20, all, hIoU, mean over steps
    assert {row["table"] for row in rows} == {"voc_15-1, overlapped, order natural"}
    ft = found["FT", "0-15"]
    assert (ft["value"], ft["n"], ft["sd_kind"], ft["rank"]) == ("51.0", "2", "sample, over seeds", "1")
    assert float(ft["sd"]) == pytest.approx(2**0.5) and ft["note"] == "2 seeds (0, 1)"
    gsc = found["GSC (lambda1=0.5,sg=off)", "hIoU"]
    assert (gsc["sd"], gsc["n"], gsc["note"]) == ("", "1", "") and float(gsc["value"]) == pytest.approx(200 / 7)
    missing = found["RCIL (imported)", "16-20"]
    assert (missing["value"], missing["n"], missing["sd_kind"]) == ("", "", "")
    assert missing["note"].startswith("imported: trained and tested by other code")


def test_csv_of_printed_numbers_has_misprints_and_which_deviation_it_is() -> None:
    (first, *_), (orders,) = (published_tables(name) for name in ("main", "class-order"))
    rows = [*csv.DictReader(io.StringIO(render([first], "csv")))]
    assert {row["value"] for row in rows if row["misprint"]} == {"46.5", "74.0"}
    assert all(row["note"].startswith(f"printed {row['value']}") for row in rows if row["misprint"])
    rows = [*csv.DictReader(io.StringIO(render([orders], "csv")))]
    averages = {row["method"]: row for row in rows if row["column"] == "Average"}
    assert (averages["PLOP*"]["value"], averages["PLOP*"]["sd"]) == ("44.2", "3.8")
    assert {(row["sd_kind"], row["n"]) for row in averages.values()} == {("population, over orders", "5")}
    assert {(row["sd_kind"], row["n"]) for row in rows if row["column"] != "Average"} == {("", "")}


def test_csv_of_several_tables_has_one_line_of_heads_and_tables_of_words_stay_as_they_are() -> None:
    tables = [table(run(setting=setting)) for setting in ("disjoint", "overlapped")]
    lines = render(tables, "csv").splitlines()
    assert len(lines) == 1 + 2 * 5 and lines[0].startswith("table,method,column,value")
    words = text_table("t", ["a", "b"], [["1.5", "x"]])
    assert render([words, words], "csv") == "table,a,b\nt,1.5,x\nt,1.5,x\n"


def test_no_run_no_table() -> None:
    assert main_tables([]) == []
