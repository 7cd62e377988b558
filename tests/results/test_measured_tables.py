"""Tables of runs by name: rows of method specs, columns, averages, and runs beside the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, pstdev, stdev
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import one_record

from issbench.results.definitions import definition
from issbench.results.make_tables import joined_tables, measured_tables, paper_order
from issbench.results.pivot import Pivot, RowFacts
from issbench.results.published import published
from issbench.results.runs import Run
from issbench.results.seeds import within_noise
from issbench.results.table import MISSING, Table, TableError


def run(
    method: str = "gsc", scenario: str = "voc_15-1", setting: str = "disjoint", seed: int = 0, all: float = 50.0,
    name: str = "", complete: bool = True, **changed: Any,
) -> Run:  # fmt: skip
    """A run whose groups are all + 10 (base), all − 10 (new) and all, after a first step of 70 on everything."""
    base = scenario.partition("_")[2].partition("-")[0]
    groups = {f"0-{base}": all + 10, f"{int(base) + 1}-20": all - 10, "all": all}
    scores = [dict.fromkeys(groups) | {"all": 70.0}, groups]
    record = one_record(method, scenario, setting, seed, scores=scores, complete=complete, **changed)
    if complete:
        record["steps"][-1]["step"] = record["num_steps"] - 1
    return Run(Path(name or f"{method}-{scenario}-{seed}"), record)


def only(name: str, *runs: Run) -> Table:
    (table,) = measured_tables(name, runs)
    return table


def test_scenarios_and_settings_side_by_side_as_in_the_paper() -> None:
    table = only(
        "main",
        run("ft", "voc_15-1", "overlapped", all=1.0),
        run("ft", "voc_19-1", "disjoint", all=2.0),
        run("gsc", "voc_15-1", "disjoint", all=3.0),
        run("gsc", "voc_15-1", "overlapped", all=4.0),
    )
    assert [head[:2] for head in table.heads[1::3]] == [
        ("19-1 (2 steps)", "Disjoint"), ("15-1 (6 steps)", "Disjoint"), ("15-1 (6 steps)", "Overlapped"),
    ]  # fmt: skip
    assert [row[3::3] for row in table.rows] == [["2.0", MISSING, "1.0"], [MISSING, "3.0", "4.0"]]
    assert "–: no run, or none with this number." in table.notes
    assert table.levels()[0] == [("", 1), ("19-1 (2 steps)", 3), ("15-1 (6 steps)", 6)]


def test_cells_with_fewer_seeds_are_marked() -> None:
    runs = [run(m, setting=s, seed=n) for m in ("ft", "gsc") for s in ("disjoint", "overlapped") for n in (0, 1)]
    table = only("main", *runs[:-1])
    assert "sample standard deviation over 2 seeds (0, 1) where no footnote says otherwise." in table.notes[0]
    assert [cell.footnote for cell in table.cells[1]] == ["", *[""] * 3, *["1 seed (0)"] * 3]


def test_a_row_of_other_seeds_says_so() -> None:
    runs = [run(m, seed=n) for m, seeds in (("ft", (0, 1)), ("mib", (0, 1)), ("gsc", (3, 4))) for n in seeds]
    table = only("main", *runs)
    assert [row[0].footnote for row in table.cells] == ["", "", "2 seeds (3, 4)"]
    assert "over 2 seeds (0, 1) where no footnote" in table.notes[0]
    assert "one seed (0): what another would change is not known." in only("main", *runs[::2][:2]).notes[0]
    many = only("main", *(run(seed=n) for n in range(8)))
    assert "over 8 seeds (0 to 7)." in many.notes[0]
    (both,) = joined_tables("main", runs)
    assert {str(r[0]): r[0].footnote for r in both.cells}["GSC"] == "ours: 2 seeds (3, 4)"


def noisy(method: str, scores: Sequence[float], **changed: Any) -> list[Run]:
    """A run of each seed."""
    return [
        run(method, seed=seed, all=score, name=f"{method}{seed}", **changed) for seed, score in enumerate(scores)
    ]


def test_all_that_the_seeds_do_not_tell_from_the_best_are_marked() -> None:
    runs = [
        *noisy("gsc", [50.0, 52.0, 54.0]),
        *noisy("plop", [49.0, 52.5, 53.0]),  # 0.5 ± 0.9 below, paired: the interval is −1.7 to 2.7
        *noisy("mib", [48.0, 50.1, 51.9]),  # 2.0 ± 0.1 below
        *noisy("ft", [10.0]),
        *noisy("joint", [70.0, 70.0, 70.0]),
    ]
    (table,) = measured_tables("main", runs, noise=True)
    ranks = {str(row[0]): row[table.header.index("all")].rank for row in table.cells}
    assert ranks == {"GSC": 1, "PLOP": 1, "MiB": 0, "FT": 0, "Joint": 0}
    (note,) = (note for note in table.notes if note.startswith("Marked:"))
    assert "t interval that holds 0 (95 %" in note and "does not make them equal" in note
    assert "Of FT nothing can be said where fewer than two seeds are shared with the best." in note
    (usual,) = measured_tables("main", runs)
    assert {str(row[0]): row[table.header.index("all")].rank for row in usual.cells}["PLOP"] == 2
    assert any(note.startswith("Marked: best and second by the printed number") for note in usual.notes)


def test_equal_methods_are_all_marked_but_in_one_column_of_twenty() -> None:
    """400 columns of 6 methods that differ by chance alone, 4 seeds. With plain intervals it were every third."""
    draw, heads = np.random.default_rng(1), [(f"column {place}",) for place in range(400)]
    rows = {(f"m{place}",): RowFacts() for place in range(6)}
    numbers = {(row, head): dict(enumerate(draw.normal(size=4).tolist())) for row in rows for head in heads}
    marked = within_noise(Pivot(pd.DataFrame(), rows, heads, numbers), definition("main"))[0].marked
    assert marked is not None and len(marked) == 400
    assert sum(len(found) < 6 for found in marked.values()) <= 0.05 * 400 + 2 * (400 * 0.05 * 0.95) ** 0.5


def test_one_seed_marks_nothing_and_says_why() -> None:
    (table,) = measured_tables("main", [run("gsc", all=50.0), run("plop", all=10.0)], noise=True)
    assert not any(cell.rank for row in table.cells for cell in row)
    (note,) = (note for note in table.notes if note.startswith("Nothing is marked"))
    assert "two seeds" in note and "PLOP" in note


def test_rows_of_check_marks_are_named_by_what_is_checked() -> None:
    (table,) = measured_tables("ablation", [run("plop", all=50.0), run("gsc:sg=off,sc=off", all=51.0)], noise=True)
    assert any("Of PLOP nothing can be said" in note for note in table.notes)


def test_noise_of_what_should_be_small_and_of_averages_over_orders() -> None:
    lost = {"gsc": [[5.0] * 21, [6.0] * 21], "plop": [[5.5] * 21, [5.9] * 21], "ft": [[40.0] * 21, [41.01] * 21]}
    runs = [run(m, seed=s, forgetting=f, name=f"{m}{s}") for m, seeds in lost.items() for s, f in enumerate(seeds)]
    (table,) = measured_tables("forgetting", runs, noise=True)
    assert [row[1].rank for row in table.cells] == [1, 1, 0]
    orders = [
        each
        for method, lift in (("gsc", 0.0), ("plop", 1.0))
        for order, score in (("natural", 50.0), ("B", 30.0))
        for each in noisy(method, [score + lift, score + lift * 1.1 + 1], order=order)
    ]
    (table,) = measured_tables("class-order", orders, noise=True)
    assert [row[-1].rank for row in table.cells] == [0, 1]  # 1.05 ± 0.07 points, whatever the order


def test_two_runs_of_one_seed_are_never_averaged() -> None:
    table = only("main", run(all=50.0, name="one"), run(all=60.0, name="two", order="A"))
    assert table.rows[0][3] == MISSING
    assert table.cells[0][3].footnote == "runs of one seed (0) differ: one, two"
    # The same numbers twice are one run told twice.
    assert only("main", run(name="one"), run(name="two", order="A")).rows[0][3] == "50.0"


@pytest.mark.parametrize("changed", [{"recipe": {"crop": 128}}, {"protocol": "mib"}])
@pytest.mark.parametrize("name", ["main", "ablation", "class-order", "hyperparameters", "steps", "forgetting"])
def test_runs_of_two_recipes_never_share_a_table(name: str, changed: dict[str, Any]) -> None:
    tables = measured_tables(name, [run(), run(seed=1, **changed)])
    assert len(tables) == 2 and all(len(table.rows) == 1 for table in tables)
    assert not any("±" in cell for table in tables for cell in table.rows[0][table.stubs : table.stubs + 3])


@pytest.mark.parametrize("name", ["main", "steps", "forgetting"])
def test_runs_of_other_images_never_share_a_table(name: str) -> None:
    tables = measured_tables(name, [run(), run("plop", images="1"), run(images="0.3"), run("ft", images="0.3:1")])
    assert [len(table.rows) for table in tables] == [2, 1, 1]
    endings = ["order natural", "order natural, images 0.3", "order natural, images 0.3:1"]
    assert [table.title.partition("disjoint, ")[2] for table in tables] == endings


def test_ablation_rows_from_specs() -> None:
    specs = ("gsc", "gsc:sg=off", "gsc:pr=off,sc=off,sg=off,sr=off", "plop+pr", "gsc:lambda1=0.5", "mib")
    table = only("ablation", *(run(spec, all=float(i)) for i, spec in enumerate(specs)))
    assert ["".join(cell or "-" for cell in row[:5]) for row in table.rows] == ["✓----", "✓✓---", "✓✓-✓✓", "✓✓✓✓✓"]
    assert [row[-1] for row in table.rows] == ["2.0", "3.0", "1.0", "0.0"]


def test_plop_and_gsc_without_its_parts_are_one_row_and_may_not_contradict() -> None:
    table = only("ablation", run("plop", all=1.0), run("gsc:pr=off,sg=off,sr=off,sc=off", all=2.0))
    assert len(table.rows) == 1 and table.rows[0][-1] == MISSING
    assert "differ" in table.cells[0][-1].footnote


# Table VI: VOC 15-1 disjoint, orders A … E, and the printed mean ± deviation.
ORDERS = {
    "ILT*": ([7.9, 20.7, 6.4, 10.9, 13.8], "11.9 ± 5.1"),
    "MiB*": ([39.9, 23.7, 34.3, 40.6, 48.0], "37.3 ± 8.1"),
    "PLOP*": ([46.5, 41.7, 48.0, 46.8, 37.9], "44.2 ± 3.8"),
    "RCIL*": ([51.7, 51.1, 48.7, 56.2, 53.8], "52.3 ± 2.5"),
    "GSC": ([55.8, 50.8, 51.9, 55.2, 50.5], "52.8 ± 2.2"),
}


def test_the_orders_above_are_those_of_the_published_table() -> None:
    printed = [number for number in published("VI") if number.order != "average"]
    for method, (values, _) in ORDERS.items():
        assert [number.value for number in printed if number.method == method] == values


@pytest.mark.parametrize("method", ORDERS)
def test_averages_over_orders_are_those_of_table_vi(method: str) -> None:
    """Mean and population deviation: with the sample's it would not be what is printed."""
    values, printed = ORDERS[method]
    runs = [run(order=order, all=value) for order, value in zip("ABCDE", values, strict=True)]
    average = only("class-order", *runs).cells[0][-1]
    assert str(average) == printed
    assert average.value == pytest.approx(mean(values)) and average.std == pytest.approx(pstdev(values))
    assert f"{average.value:.1f} ± {stdev(values):.1f}" != printed


def test_class_orders_with_the_population_deviation() -> None:
    values = {"natural": 55.8, "B": 50.8, "C": 51.9, "D": 55.2, "E": 50.5}  # GSC in Table VI
    runs = [run(order=order, all=value) for order, value in values.items()]
    table = only("class-order", *runs, run("ft", order="B", all=10.0))
    assert [head[-1] for head in table.heads] == ["method", "A", "B", "C", "D", "E", "Average"]
    assert table.rows[0] == ["GSC", "55.8", "50.8", "51.9", "55.2", "50.5", "52.8 ± 2.2"]
    assert "population standard deviation over the orders" in table.notes[0]
    assert table.rows[1][-1] == MISSING
    assert table.cells[1][-1].footnote == "no average: order A, C, D, E missing"


def test_unfinished_runs_of_several_orders_are_told_with_theirs() -> None:
    table = only("class-order", run(), run(order="B"), run("ft", order="B", complete=False))
    assert table.notes[1] == "ft, order B, seed 0: unfinished, 1 of 6 steps done; left out."
    (alone,) = measured_tables("class-order", [run(order="B"), run("ft", order="B", complete=False)])
    assert alone.notes[1] == "ft, seed 0: unfinished, 1 of 6 steps done; left out."


def test_with_unfinished_runs_alone_every_number_is_missing() -> None:
    table = only("main", run(complete=False))
    assert set(table.rows[0][1:-1]) == {MISSING} and "unfinished, 1 of 6 steps done" in table.notes[1]


def test_hyperparameters_as_rows_and_columns() -> None:
    specs = ("gsc", "gsc:lambda1=1.0", "gsc:lambda1=0.8,lambda2=1.0", "gsc:sg=off")
    table = only("hyperparameters", *(run(spec, all=float(i)) for i, spec in enumerate(specs)))
    assert [head[-1] for head in table.heads] == ["λ2", "λ1 = 1.0", "λ1 = 0.8", "λ1 = 0.3"]
    assert table.rows == [["1.0", MISSING, "2.0", MISSING], ["0.1", "1.0", MISSING, "0.0"]]


def test_combinations_beside_what_they_combine() -> None:
    table = only("combination", run("rcil"), run("rcil+gsc"), run("gsc"))
    assert [row[0] for row in table.rows] == ["RCIL", "RCIL+GSC"]
    assert measured_tables("combination", [run("rcil"), run("gsc")]) == []


def test_steps_and_a_method_that_skips_some() -> None:
    middle = run("gsc")
    other = run("gsc", all=60.04).last
    middle.steps.insert(1, {**other, "step": 1})
    table = only("steps", run("joint", all=77.0), middle)
    assert [head[-1] for head in table.heads] == ["method", "step 0", "step 1", "step 5"]
    assert table.rows == [["Joint", "70.0", MISSING, "77.0"], ["GSC", "70.0", "60.0", "50.0"]]


def test_hiou_is_high_only_where_base_and_new_are() -> None:
    runs = [run(all=40.0), run("ft", all=10.0), run("plop", "voc_19-1", all=50.0), run(setting="domain")]
    table = only("hiou", *runs)
    assert [head[-1] for head in table.heads] == ["method", *["base", "new", "all", "hIoU"] * 2]
    # base is 10 above and new 10 below the score: 2 · 50 · 30 / 80, and 0 where one of the two is 0
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows == {
        "GSC": [*[MISSING] * 4, "50.0", "30.0", "40.0", "37.5"],
        "FT": [*[MISSING] * 4, "20.0", "0.0", "10.0", "0.0"],
        "PLOP": ["60.0", "40.0", "50.0", "48.0", *[MISSING] * 4],
    }
    assert [cell.rank for cell in table.cells[0][5:]] == [1] * 4


def test_forgetting_leaves_out_the_last_step_and_less_is_better() -> None:
    runs = [run(), run("ft", forgetting=[40.0] * 21)]
    for each in runs:
        each.steps.insert(1, {**each.steps[0], "step": 4})
    table = only("forgetting", *runs, run("joint"))
    assert [head[-1] for head in table.heads] == ["method", "0-15", "16-20", "all", "least", "most"]
    # Classes 0 … 15 lost 0 … 15 points; of 16 … 20, the last was only just learned.
    assert table.rows[0] == ["GSC", "7.5", "17.5", "9.5", "0.0", "19.0"]
    assert [cell.rank for cell in table.cells[0][1:]] == [1] * 5
    # Joint training skips steps: it had no time to forget some classes that the others have in their means.
    assert table.rows[2] == ["Joint", "7.5", *[MISSING] * 4]


def test_domain_runs_alone() -> None:
    runs = [run(setting="domain"), run()]
    assert only("domain", *runs).title == "domain: voc_15-1, domain, order natural"


def test_beside_the_paper_with_the_difference() -> None:
    (table,) = joined_tables("main", [run("gsc", all=50.04), run("rcil", all=60.0), run("ft:x=1.0", all=1.0)])
    assert [head[-2:] for head in table.heads[-3:]] == [("all", "paper"), ("all", "ours"), ("all", "difference")]
    rows = {row[0]: row[-3:] for row in table.rows}
    assert rows["GSC"] == ["55.8", "50.0", "−5.8"]
    assert rows["RCIL"] == ["54.7", "60.0", "+5.3"]
    assert rows["RCIL*"] == ["51.7", MISSING, MISSING]
    assert rows["FT (x=1.0)"] == [MISSING, "1.0", MISSING]
    assert "disjoint" in table.title and "resnet101" in table.notes[0]
    assert [str(cell) for row in table.cells for cell in row[-1:] if cell.rank] == []


def test_beside_the_numbers_of_other_papers() -> None:
    runs = [run("plop", setting="overlapped", all=50.0), run("rcil", "voc_19-1", all=60.0)]
    (table,) = joined_tables("hiou", runs, scenario="voc_15-1")
    assert table.title.startswith("Other papers and ours: ") and table.title.endswith("(voc_15-1, overlapped)")
    names, parts = ("base", "new", "all", "hIoU"), ("paper", "ours", "difference")
    assert [head[-2:] for head in table.heads[1:]] == [(name, part) for name in names for part in parts]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["PLOP"][1::3] == ["60.0", "40.0", "50.0", "48.0"]
    assert rows["DKD"][0::3] == [MISSING, MISSING, "70.5", "57.5"]
    with pytest.raises(TableError, match="setting of the numbers of other papers with all classes"):
        joined_tables("hiou", [run(setting="partitioned")])


def test_beside_the_paper_finds_its_own_implementations() -> None:
    (table,) = joined_tables("class-order", [run("ilt", all=10.0)])
    rows = {row[0]: row for row in table.rows}
    assert rows["ILT*"][1:4] == ["7.9", "10.0", "+2.1"] and "ILT" not in rows


@pytest.mark.parametrize(
    "changed",
    [
        {"classes": [f"class {c}" for c in range(20)]},
        {"order": "B"},
        {"scenario": "voc_2-2"},
        {"images": "0.3"},
        {"setting": "partitioned"},
    ],
)
def test_what_the_paper_did_not_do_is_not_put_beside_it(changed: dict[str, Any]) -> None:
    with pytest.raises(TableError, match="leave --both out"):
        joined_tables("main", [run(**changed)])


def test_methods_in_the_papers_order() -> None:
    runs = [run(m) for m in ("gsc:sg=off", "gsc", "rcil+gsc", "mib", "ft")]
    assert [r.experiment["method"] for r in sorted(runs, key=paper_order)] == [
        "ft", "mib", "rcil+gsc", "gsc", "gsc:sg=off",
    ]  # fmt: skip


def imported(all: float, **changed: Any) -> Run:
    """RCIL's released numbers: another code's recipe, which no record knows."""
    return run("rcil", all=all, name="imported", imported=True, **changed)


def test_an_imported_run_stands_beside_those_of_every_recipe_and_says_so() -> None:
    ours, other = run("gsc", all=5.0), run("gsc", all=7.0, recipe={"epochs": 3}, name="short")
    tables = measured_tables("main", [imported(6.0), ours, other])
    assert [[row[3] for row in table.rows] for table in tables] == [["6.0", "5.0"], ["6.0", "7.0"]]
    assert [table.title.rpartition(", ")[2] for table in tables] == ["epochs=30", "epochs=3"]
    assert all("the recipe is not known" not in table.notes[0] for table in tables)
    assert all("imported" in table.cells[0][0].footnote and not table.cells[1][0].footnote for table in tables)


def test_an_imported_run_of_another_protocol_stands_alone() -> None:
    tables = measured_tables("main", [imported(6.0, protocol="mib"), run("gsc", all=5.0)])
    assert [[row[3] for row in table.rows] for table in tables] == [["6.0"], ["5.0"]]


def test_an_imported_run_has_the_papers_row_or_one_beside_that_of_our_own() -> None:
    (table,) = joined_tables("main", [imported(60.0), run("gsc", all=50.0)])
    rows = {str(row[0]): row for row in table.cells}
    assert "RCIL (imported)" not in rows
    assert [str(cell) for cell in rows["RCIL"][-3:]] == ["54.7", "60.0", "+5.3"]
    assert rows["RCIL"][0].footnote.startswith("ours: imported: trained and tested by other code")
    (table,) = joined_tables("main", [run("rcil", all=50.0), imported(60.0)])
    texts = {row[0]: row[-3:] for row in table.rows}
    assert texts["RCIL"] == ["54.7", "50.0", "−4.7"]
    assert texts["RCIL (imported)"] == ["54.7", "60.0", "+5.3"]
    assert any(note.startswith("difference: ours − paper") for note in table.notes)
    (table,) = joined_tables("class-order", [imported(60.0)])
    assert {row[0]: row[3] for row in table.rows}["RCIL*"] == "+8.3"


def test_upper_bounds_do_not_compete_beside_the_paper_either() -> None:
    (table,) = joined_tables("main", [run("joint", all=90.0), run("gsc", all=50.0), run("rcil", all=40.0)])
    ranks = {str(row[0]): [cell.rank for cell in row[-3:]] for row in table.cells}
    assert ranks["Joint"] == [0, 0, 0]
    assert ranks["GSC"] == [1, 1, 0] and ranks["RCIL"] == [2, 2, 0]


def test_runs_on_two_copies_of_the_data_stand_in_two_tables_beside_the_paper() -> None:
    tables = joined_tables("main", [run("gsc"), run("rcil", data="77b1" + "0" * 28)])
    assert [table.title.partition("(voc_15-1, ")[2] for table in tables] == [
        "disjoint, data 3f2a91c4)", "disjoint, data 77b10000)",
    ]  # fmt: skip
