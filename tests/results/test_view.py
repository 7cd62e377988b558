"""Parts of tables: rows, columns, their order and digits, as a user asks for them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from commands import bench as run_bench
from made_records import one_record, write_run


def bench(*arguments: object, code: int = 0) -> str:
    """What `bench table` prints, or its message where it must fail with this exit code."""
    return run_bench("table", *arguments, code=code)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FT, PLOP, GSC and a variant on two settings, with 10.04, 20.04, 30.04 and 30.01 % on all classes."""
    out = tmp_path_factory.mktemp("view")
    for place, method in enumerate(("ft", "plop", "gsc", "gsc:lambda1=0.5,sg=off")):
        value = 10.04 + 10 * place if place < 3 else 30.01
        for setting in ("disjoint", "overlapped"):
            first = {"0-15": 70.0, "16-20": None, "all": 70.0}
            last = {"0-15": value + 1, "16-20": value - 1, "all": value}
            record = one_record(method, setting=setting, scores=[first, last])
            write_run(out, f"voc_15-1-{setting}-{place}", record)
    return out


def cells(text: str) -> dict[str, list[str]]:
    """The printed cells of each row by its name, from Markdown."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {name: values for name, *values in rows[2:]}


def test_rows_and_columns_by_their_names(store: Path) -> None:
    what = ("--out", store, "--format", "markdown")
    found = cells(bench(*what, "--rows", 'plop,"GSC (lambda1=0.5,sg=off)"', "--columns", "all"))
    assert found == {
        "PLOP": ["<u>20.0</u>"] * 2,
        "GSC (lambda1=0.5,sg=off)": ["**30.0**"] * 2,
    }  # best of what is shown
    found = cells(bench(*what, "--rows", "gsc*", "--columns", "Disjoint,Overlapped / ALL"))
    assert {name: len(values) for name, values in found.items()} == {"GSC": 4, "GSC (lambda1=0.5,sg=off)": 4}
    assert "0-15" in bench(*what, "--columns", "0-15"), "the head of a single column is told"


def test_sorted_with_more_digits(store: Path) -> None:
    what = ("--out", store, "--format", "markdown", "--setting", "disjoint", "--sort", "all")
    assert [*cells(bench(*what))] == ["GSC", "GSC (lambda1=0.5,sg=off)", "PLOP", "FT"]
    place = ["0-15", "16-20", "all"].index("all")
    one, two = cells(bench(*what)), cells(bench(*what, "--digits", "2"))
    # As printed the two are equal; with more digits one is the best.
    assert [one[name][place] for name in list(one)[:2]] == ["**30.0**"] * 2
    assert [two[name][place] for name in list(two)[:2]] == ["**30.04**", "<u>30.01</u>"]


def test_a_part_of_a_printed_table_keeps_its_heads() -> None:
    text = bench("--published", "--columns", "0-15", "--rows", "GSC", "--format", "csv")
    found = {row["column"]: row["value"] for row in csv.DictReader(text.splitlines())}
    assert found["15-1 (6 steps) / Disjoint / 0-15"] == "67.2" and len(found) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows", "plob"], ["--rows plob", "did you mean plop"]),
        (["--columns", "nothing like it"], ["--columns nothing like it", "16-20"]),
        (["--sort", "mean"], ["--sort mean: nothing in the table is called so"]),
        (["--rows", ","], ["names nothing"]),
        (["--digits", "2", "--both"], ["the paper's numbers have one digit"]),
        (["long", "--sort", "all"], ["table long holds runs alone, all their numbers"]),
    ],
)
def test_what_fits_nothing_is_refused(store: Path, arguments: list[str], words: list[str]) -> None:
    message = bench(*arguments, "--out", store, code=2)
    assert all(word in message for word in words), message


def test_latex_has_a_label_for_each_table(store: Path) -> None:
    text = bench("steps", "--out", store, "--format", "latex")
    assert text.count(r"\label{tab:steps-voc-15-1-order-natural}") == text.count(r"\caption{") == 1
