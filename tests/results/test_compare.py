"""What is said of methods, and of what it is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_records import ENVIRONMENT
from made_runs import made_run as run
from scipy import stats

from issbench.results import comparison as module
from issbench.results.bootstrap import Interval, Resampled
from issbench.results.compare import compare
from issbench.results.counts import ClassGroup
from issbench.results.runs import RecordError, Run

NOISE = [0.9, -0.4, 0.1, -0.7, 0.6, -0.5, 0.3, -0.3]
"""Of seeds, with a mean of 0."""


def seeds(method: str, score: float, number: int, noise: float = 0.0, **changed: str) -> list[Run]:
    """Runs of a method; `noise` is how far its seeds vary beyond what they share."""
    return [run(method, score + 2 * (s % 3) + noise * NOISE[s], s, **changed) for s in range(number)]


def words(*arguments: object) -> str:
    return "\n".join(compare(*arguments).notes)  # type: ignore[arg-type]


def test_one_seed_speaks_of_networks_and_never_of_methods() -> None:
    table = compare([run("gsc", 51.4), run("plop", 50.0)], ["gsc", "plop"])
    text = "\n".join(table.notes)
    assert table.rows == [["voc_15-1", "overlapped", "A", "0", "51.40", "50.00", "+1.40", "–"]]
    assert "this network of gsc is 1.40 points above this one of plop on these test images" in text
    assert "two networks, not about their methods: another seed may turn it" in text
    assert "10 if it is as large" in text and "better" not in text and "No interval over images for 1 of 1" in text


def test_one_seed_with_counts_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    with_counts(monkeypatch, deviation=0.5)
    monkeypatch.setattr(module, "paired_interval", lambda a, b: Interval(a.score, b.score, -2.0, -0.2, 0.95, 200))
    text = words([run("gsc", 49.0), run("plop", 50.0)], ["gsc", "plop"])
    assert "plop is 1.00 points above this one of gsc on these 200 test images" in text
    assert "(95% interval over other images like these +0.20 to +2.00)" in text and "better" not in text
    monkeypatch.setattr(module, "paired_interval", lambda a, b: Interval(a.score, b.score, -2.0, 0.2, 0.95, 200))
    assert "+2.00; other images may turn it" in words([run("gsc", 49.0), run("plop", 50.0)], ["gsc", "plop"])


def with_counts(monkeypatch: pytest.MonkeyPatch, deviation: float) -> None:
    """Gives runs draws over test images: of gsc they vary by `deviation` points, of other methods not at all."""
    common = np.random.default_rng(0).normal(size=10_000)
    common = (common - common.mean()) / common.std(ddof=1)

    def fake(run: Run, group: str) -> Resampled:
        score = run.last["metrics"]["groups"][group]
        assert score is not None
        moved = deviation * common * (run.spec == "gsc")
        return Resampled(run.name, "test", ClassGroup(0, 20, False), 10**6, score, score + moved)

    monkeypatch.setattr(module, "resample", fake)


def test_seeds_are_compared_by_the_paired_t_test() -> None:
    runs = [*seeds("gsc", 50.5, 8, 0.5), *seeds("plop", 50.0, 8)]
    table = compare(runs, ["gsc", "plop"])
    text = "\n".join(table.notes)
    difference = 0.5 + 0.5 * np.array(NOISE)
    expected = stats.ttest_1samp(difference, 0)
    low, high = expected.confidence_interval()
    assert f"95% interval {low:+.2f} to {high:+.2f} over 8 seeds (paired t test, p = {expected.pvalue:.3f})" in text
    assert "gsc is better than plop, on average over other seeds of voc_15-1, overlapped, order A" in text
    assert "says nothing about other scenarios, settings or class orders" in text
    assert f"their difference paired by seed {difference.std(ddof=1):.2f} points" in text
    assert "is found with 80% power" in text and "On a new seed gsc is above plop" in text
    assert "Bayesian signed-rank test of the 8 seeds, somewhat too sure of so few: " in text
    few = words([*seeds("gsc", 50.5, 3, 2.0), *seeds("plop", 50.0, 3)], ["gsc", "plop"])
    assert "gsc and plop are not told apart, on average over other seeds" in few
    assert "(the true one may be 6 times as large)" in few and "signed-rank" not in few


def test_the_choice_of_test_images_is_in_the_interval_over_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [*seeds("gsc", 50.5, 8, 0.5), *seeds("plop", 50.0, 8)]
    with_counts(monkeypatch, deviation=0.5)
    text = words(runs, ["gsc", "plop"])
    assert "not told apart, on average over other seeds and test images of voc_15-1" in text
    assert "over 8 seeds, 1000000 test images (seeds and images together, p = " in text
    low, high = stats.ttest_1samp(0.5 + 0.5 * np.array(NOISE), 0).confidence_interval()
    assert f"On these test images alone, paired t test over seeds: {low:+.2f} to {high:+.2f}, p = " in text
    assert "one of 0.5 with no number of seeds on so few test images" in text


def test_seeds_do_not_count_as_places() -> None:
    scenarios = {"voc_15-1": 53.0, "voc_10-1": 50.5}
    runs = [r for name, score in scenarios.items() for r in seeds("gsc", score, 5, 0.2, scenario=name)]
    runs += [r for name in scenarios for r in seeds("plop", 50.0, 5, scenario=name)]
    text = words(runs, ["gsc", "plop"])
    assert "not told apart, on average over other scenarios like these" in text and "over 2 scenarios" in text
    mean = 3 + 0.2 * np.mean(NOISE[:5])
    assert f"voc_15-1, overlapped, order A: {mean:+.2f} (" in text and "over 5 seeds)" in text
    assert "On a new seed in one of these places gsc is above plop with a probability of > 99%" in text


def test_orders_are_a_sample_of_orders() -> None:
    runs = [run("gsc", 53.0 + 0.2 * NOISE[o], s, order=f"random:{o}") for o in range(5) for s in range(2)]
    runs += [run("plop", 50.0, s, order=f"random:{o}") for o in range(5) for s in range(2)]
    text = words(runs, ["gsc", "plop"])
    assert "gsc is better than plop, on average over other class orders of voc_15-1, overlapped, on these" in text
    assert (
        "gsc is above plop in 5 of 5 class orders" in text and "Seeds of a class order are averaged first" in text
    )


def test_equal_up_to_rounding_is_identical() -> None:
    runs = [*[run("gsc", 40.3 - 0.1, s) for s in range(8)], *[run("plop", 40.2, s) for s in range(8)]]
    assert "gsc and plop have the same mIoU in all 8 cells" in words(runs, ["gsc", "plop"])
    assert "the same mIoU in the one cell" in words([run("gsc"), run("plop")], ["gsc", "plop"])
    table = compare([*runs, *seeds("ft", 20.0, 8, 0.3)], ["gsc", "plop", "ft"])
    assert table.rows[0][2:6] == ["+0.00", "–", "–", "identical"] and table.rows[1][5] == "gsc"


def test_what_is_no_repetition_is_not_tested() -> None:
    runs = [run(m, 50.0 + s + (m == "gsc"), s, recipe={"lr": 0.1 + s}) for m in ("gsc", "plop") for s in range(2)]
    table = compare(runs, ["gsc", "plop"])
    assert len(table.rows) == 2 and "run" in table.header
    assert table.notes[0].startswith("No test, and nothing is said of methods. Cells of one scenario")
    several = compare([*runs, *seeds("ft", 30.0, 1)], ["gsc", "plop", "ft"])
    assert any(note.startswith("gsc − plop: not tested. Cells of one scenario") for note in several.notes)


def test_two_methods_or_three_say_the_same() -> None:
    runs = [*seeds("gsc", 51.0, 4, 0.5), *seeds("plop", 50.0, 4, -0.2), *seeds("ft", 20.0, 4, 1.0)]
    table = compare(runs, ["ft", "plop", "gsc"])
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == ["gsc − plop", "gsc − ft", "plop − ft"]
    alone = {pair: words(runs, pair.split(" − ")) for pair in rows}
    for pair, row in rows.items():
        assert f"{row[2]} points, 95% interval {row[3]} over 4 seeds" in alone[pair]
        assert row[5] in ("not told apart", pair.partition(" ")[0])
        if row[5] != "not told apart":
            assert f"{row[5]} is better than" in alone[pair]
    noise = np.array(NOISE[:4])
    raw = [stats.ttest_1samp(each, 0).pvalue for each in (1 + 0.7 * noise, 31 - 0.5 * noise, 30 - 1.2 * noise)]
    assert rows["gsc − plop"][4] == f"{raw[0]:.3f}" and sorted(raw)[2] == raw[0]  # the largest is left as it is
    assert [rows[f"{m} − ft"][4] for m in ("gsc", "plop")] == ["< 0.001"] * 2 and 3 * raw[1] < 2 * raw[2] < 0.001
    text = "\n".join(table.notes)
    assert (
        "Holm's correction for 3 pairs, level 5%" in text and "Friedman test of equal ranks, by permutation" in text
    )


def test_pairs_are_ordered_by_cells_that_both_have() -> None:
    easy, hard = {"order": "random:1"}, {"order": "natural"}
    runs = [
        *seeds("gsc", 72.0, 3, 0.1, **easy),
        *seeds("plop", 70.0, 3, **easy),
        *seeds("mib", 66.0, 3, 0.2, **easy),
    ]
    runs += [*seeds("gsc", 42.0, 3, 0.1, **hard), *seeds("plop", 40.0, 3, **hard)]
    table = compare(runs, ["mib", "gsc", "plop"])
    assert [row[:2] for row in table.rows] == [
        ["gsc − plop", "2 class orders"], ["gsc − mib", "3 seeds"], ["plop − mib", "3 seeds"],
    ]  # fmt: skip
    assert any("Left out of what all share, no run of mib beside" in note for note in table.notes)


def test_one_seed_of_three_methods() -> None:
    table = compare([run("gsc", 51.0), run("plop", 50.0), run("ft", 20.0)], ["gsc", "plop", "ft"])
    assert table.rows[0] == ["gsc − plop", "1 seed", "+1.00", *["–"] * 6]
    assert (
        table.notes[0].startswith("No two methods share several seeds") and "about networks alone" in table.notes[0]
    )
    nothing = [run("gsc"), run("plop", seed=1), run("ft", seed=2)]
    with pytest.raises(RecordError, match="no runs of gsc and plop and ft can be compared"):
        compare(nothing, ["gsc", "plop", "ft"])


def test_runs_that_were_not_made_alike_are_compared_with_a_note() -> None:
    other = run("plop")
    for step in other.steps:
        assert step["training"]
        step["training"]["environment"] = {**ENVIRONMENT, "threads": 2}
    assert "Not made alike: 1 and 2 threads." in compare([run("gsc"), other], ["gsc", "plop"]).notes


def test_other_groups_and_missing_values() -> None:
    table = compare([run("gsc"), run("plop")], ["gsc", "plop"], "0-15")
    assert table.rows[0][4:7] == ["60.00", "60.00", "+0.00"]
    with pytest.raises(RecordError, match="has no group 'old'; it has base, new, all, 0-15, 16-20"):
        compare([run("gsc"), run("plop")], ["gsc", "plop"], "old")
    with pytest.raises(RecordError, match="1 cells in which group all has no mIoU"):
        compare([run("gsc"), run("plop", None)], ["gsc", "plop"])


def test_the_region_of_equivalence_is_an_option() -> None:
    runs = [*seeds("gsc", 51.0, 4, 0.1), *seeds("plop", 50.0, 4)]
    assert "better by more than 0.5 points > 99%" in words(runs, ["gsc", "plop"])
    assert "better by more than 3 points < 1%, equivalent > 99%" in words(runs, ["gsc", "plop"], "all", 3.0)


def test_compare_starts_without_torch(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    code = (
        "import sys; from issbench.bench.commands.compare import compare\n"
        f"try: compare(['a', 'b'], out=__import__('pathlib').Path({str(tmp_path)!r}), format='csv', group='all')\n"
        "except ValueError as error: print(error)\n"
        "print({'torch', 'scipy.stats', 'statsmodels'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["no run of a in the run store; it has none", "set()"]
