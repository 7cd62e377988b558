"""Which runs are compared, and what is said about them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import ENVIRONMENT, one_record

from issbench.bench.commands.support.options import as_recorded
from issbench.errors import UsageError
from issbench.results import compare as module
from issbench.results.bootstrap import Interval
from issbench.results.compare import compare, match
from issbench.results.runs import RecordError, Run


def run(method: str, score: float | None = 50.0, seed: int = 0, **changed: Any) -> Run:
    """A run of voc_15-1 that has this mIoU after the last step."""
    groups = {"0-15": 60.0, "16-20": 30.0, "all": score}
    record = one_record(method, seed=seed, scores=[groups] * 2, **changed)
    imported = record["source"] is not None
    record["steps"][-1] |= {
        "key": None if imported else f"{method} {score}",
        "evaluations": None if imported else {},
    }
    name = f"{record['experiment']['method']}-{seed}-{abs(hash(str(changed))) % 10**8:08d}"
    return Run(Path("store/runs") / name, record)


def methods(cells: list[module.MatchedRuns]) -> list[tuple[str, ...]]:
    return [tuple(run.spec for run in cell.runs) for cell in cells]


def test_runs_that_differ_in_the_method_alone_are_matched() -> None:
    runs = [run(m, seed=s, order=o) for m in ("plop", "gsc") for s in (10, 9) for o in ("B", "natural")]
    cells, notes = match(runs, ["gsc", "plop"])
    assert methods(cells) == [("gsc", "plop")] * 4 and notes == []
    assert [cell.facts for cell in cells] == [
        ("voc_15-1", "overlapped", order, seed) for order in ("A", "B") for seed in ("9", "10")
    ]


@pytest.mark.parametrize(
    "other, why",
    [
        (run("plop", recipe={"lr": 0.2}), "trained by different recipes, or on different data"),
        (run("plop", data="77b1" + "0" * 28), "trained by different recipes, or on different data"),
        (run("plop", complete=False), "unfinished"),
        (run("plop", seed=1), "no run of gsc beside"),
        (run("plop", order="B"), "no run of gsc beside"),
        (run("plop", protocol="mib"), "no run of gsc beside"),
        (run("plop", classes=[f"class {c}" for c in range(20)]), "no run of gsc beside"),
    ],
)
def test_what_does_not_match_is_left_out_with_a_note(other: Run, why: str) -> None:
    cells, notes = match([run("gsc"), other], ["gsc", "plop"])
    assert cells == []
    assert any(why in note and "Left out" in note for note in notes)
    with pytest.raises(RecordError, match=f"no runs of gsc and plop can be compared.*{why}"):
        compare([run("gsc"), other], ["gsc", "plop"])


def test_an_imported_run_goes_with_any_recipe() -> None:
    cells, _ = match([run("rcil"), run("rcil", imported=True)], ["rcil", "rcil-imported"])
    assert len(cells) == 1
    both = [run("rcil"), run("rcil", recipe={"lr": 0.2}), run("rcil", imported=True)]
    table = compare(both, ["rcil", "rcil-imported"])
    assert len(table.rows) == 2 and "run" in table.header
    assert any("differ in recipe or data: no test" in note for note in table.notes)
    assert not any("Wilcoxon" in note for note in table.notes)
    alone = [run("a", imported=True), run("b", imported=True)]
    assert len(match(alone, ["a-imported", "b-imported"])[0]) == 1


def test_runs_that_were_not_made_alike_are_compared_with_a_note() -> None:
    other = run("plop")
    for step in other.steps:
        assert step["training"]
        step["training"]["environment"] = {**ENVIRONMENT, "threads": 2}
    assert "Not made alike: 1 and 2 threads." in compare([run("gsc"), other], ["gsc", "plop"]).notes


def test_the_natural_order_of_voc_is_order_a() -> None:
    runs = [run("gsc"), run("gsc", order="A"), run("plop", order="A")]
    cells, notes = match(runs, ["gsc", "plop"])
    assert methods(cells) == [("gsc", "plop")] and notes == []
    cells, notes = match([run("gsc", 51.0), *runs[1:]], ["gsc", "plop"])
    assert cells == [] and "several runs of one method" in notes[0]


@pytest.mark.parametrize("asked, words", [("plob", "did you mean plop"), ("x", "it has gsc, plop")])
def test_an_unknown_method(asked: str, words: str) -> None:
    with pytest.raises(RecordError, match=words) as info:
        compare([run("gsc"), run("plop")], ["gsc", asked])
    assert info.value.exit_code == 2


@pytest.mark.parametrize("asked", [["gsc"], ["gsc", "gsc"]])
def test_a_method_is_not_compared_with_itself(asked: list[str]) -> None:
    with pytest.raises(RecordError, match="two methods or more, each once"):
        compare([run("gsc")], asked)


def test_methods_are_asked_for_in_any_spelling() -> None:
    runs = [run("gsc"), run("rcil", imported=True)]
    asked = ["gsc:sg=no, lambda1=.50", "gsc:lambda1=0.3", "plop:pod=0.010", "rcil-imported"]
    with pytest.raises(UsageError, match="it takes on or off"):
        as_recorded(asked, runs)
    asked[0] = "gsc:sg=off, lambda1=.50"
    assert as_recorded(asked, runs) == ["gsc:lambda1=0.5,sg=off", "gsc", "plop", "rcil-imported"]


def test_differences_and_the_test_over_cells() -> None:
    scores = [(50.0 + s, 48.0 - s / 10) for s in range(6)]
    runs = [run(m, pair[i], seed=s) for s, pair in enumerate(scores) for i, m in enumerate(("gsc", "plop"))]
    table = compare(runs, ["gsc", "plop"])
    assert table.header[-5:] == ["gsc", "plop", "difference", "95% interval", "better"]
    assert [row[4:7] for row in table.rows[:2]] == [["50.00", "48.00", "+2.00"], ["51.00", "47.90", "+3.10"]]
    words = " ".join(table.notes)
    assert "gsc is above plop in 6 of 6 matched cells and below in 0" in words
    assert "Significant in favour of gsc (Wilcoxon test, p = 0.031)" in words
    sample = np.std([a - b for a, b in scores], ddof=1)
    assert f"voc_15-1, overlapped, A: +4.75 ± {sample:.2f} points" in words
    assert "no independent data sets" in words
    assert "No interval for 6 of 6 cells, such as: gsc-0" in words


def test_intervals_are_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = {"0": (0.5, 3.0), "1": (-1.0, 2.0), "2": (-4.0, -0.2)}

    def fake(a: Run, b: Run, group: str) -> Interval:
        low, high = bounds[str(a.seed)]
        return Interval(group, 50, 49, low, high, 0.95, 1449, 1000)

    monkeypatch.setattr(module, "paired_interval", fake)
    runs = [run(m, seed=s) for s in range(3) for m in ("gsc", "plop")]
    table = compare(runs, ["gsc", "plop"])
    assert [row[-1] for row in table.rows] == ["gsc", "neither", "plop"]
    assert table.rows[0][-2] == "+0.50 to +3.00"
    assert table.notes[0].startswith(
        "On 1 of 3 cells gsc is better than plop (the interval of the difference exclu"
    )
    assert "on 1 it is worse, on 1 the interval includes 0" in table.notes[0]
    one = compare(runs[:2], ["gsc", "plop"])
    assert one.notes[0].startswith("gsc is better than plop (+1.00 points; the 95% interval")


def test_other_groups_and_missing_values() -> None:
    table = compare([run("gsc"), run("plop")], ["gsc", "plop"], "0-15")
    assert table.rows[0][4:7] == ["60.00", "60.00", "+0.00"]
    with pytest.raises(RecordError, match="has no group 'old'; it has base, new, all, 0-15, 16-20"):
        compare([run("gsc"), run("plop")], ["gsc", "plop"], "old")
    with pytest.raises(RecordError, match="1 cells in which group all has no mIoU"):
        compare([run("gsc"), run("plop", None)], ["gsc", "plop"])


def test_three_methods_are_ranked() -> None:
    names = ["ft", "plop", "gsc"]
    runs = [run(m, 30 + 10 * i + s, seed=s) for s in range(8) for i, m in enumerate(names)]
    table = compare(runs, names)
    assert table.rows == [["gsc", "1.00", "53.50"], ["plop", "2.00", "43.50"], ["ft", "3.00", "33.50"]]
    assert "gsc above ft" in table.notes[0] and "critical difference 1.17" in table.notes[0]
    with pytest.raises(RecordError, match="all share only 1 cell; the test takes 2 cells or more"):
        compare(runs[:3], names)


def test_compare_starts_without_torch(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    code = (
        "import sys; from issbench.bench.commands.compare import compare\n"
        f"try: compare(['a', 'b'], out=__import__('pathlib').Path({str(tmp_path)!r}), format='csv', group='all')\n"
        "except ValueError as error: print(error)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["no run of a in the run store; it has none", "False"]
