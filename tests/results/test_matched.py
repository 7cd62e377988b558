"""Which runs are compared: those that differ in nothing but the method."""

from __future__ import annotations

import pytest
from made_runs import made_run as run

from issbench.bench.commands.support.options import as_recorded
from issbench.errors import UsageError
from issbench.results.compare import compare
from issbench.results.matched import MatchedRuns, match, mixed
from issbench.results.runs import RecordError, Run


def methods(cells: list[MatchedRuns]) -> list[tuple[str, ...]]:
    return [tuple(run.spec for run in cell.runs) for cell in cells]


def test_runs_that_differ_in_the_method_alone_are_matched() -> None:
    runs = [run(m, seed=s, order=o) for m in ("plop", "gsc") for s in (10, 9) for o in ("B", "natural")]
    cells, notes = match(runs, ["gsc", "plop"])
    assert methods(cells) == [("gsc", "plop")] * 4 and notes == [] and not mixed(cells)
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
    cells, _ = match(both, ["rcil", "rcil-imported"])
    assert len(cells) == 2 and mixed(cells)
    alone = [run("a", imported=True), run("b", imported=True)]
    assert len(match(alone, ["a-imported", "b-imported"])[0]) == 1


def test_seeds_of_several_recipes_are_no_repetitions() -> None:
    runs = [run(m, seed=s, recipe={"lr": 0.1 + s}) for m in ("gsc", "plop") for s in range(2)]
    assert mixed(match(runs, ["gsc", "plop"])[0])
    for scenario in ("voc_15-1", "voc_10-1"):  # each scenario has its own recipe
        runs = [
            run(m, scenario=s, recipe={"lr": float(s[4:6])}) for m in ("a", "b") for s in (scenario, "voc_19-1")
        ]
        assert not mixed(match(runs, ["a", "b"])[0])


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


@pytest.mark.parametrize("asked", [["gsc"], ["gsc", "gsc"], ["gsc", "plop", "gsc"]])
def test_a_method_is_not_compared_with_itself(asked: list[str]) -> None:
    with pytest.raises(RecordError, match="two methods or more, each once"):
        compare([run("gsc"), run("plop")], asked)


def test_methods_are_asked_for_in_any_spelling() -> None:
    runs = [run("gsc"), run("rcil", imported=True)]
    asked = ["gsc:sg=no, lambda1=.50", "gsc:lambda1=0.3", "plop:pod=0.010", "rcil-imported"]
    with pytest.raises(UsageError, match="it takes on or off"):
        as_recorded(asked, runs)
    asked[0] = "gsc:sg=off, lambda1=.50"
    assert as_recorded(asked, runs) == ["gsc:lambda1=0.5,sg=off", "gsc", "plop", "rcil-imported"]
