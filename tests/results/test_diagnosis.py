"""What was seen of trainings: the numbers that figures and tables make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_records import one_record, write_run

from issbench.results.diagnosis import class_table, coverage, diagnosed, precision, shares
from issbench.results.figures import FIGURES, FigureError
from issbench.results.record import Diagnosis
from issbench.results.report import report
from issbench.results.runs import Run

EMPTY: Diagnosis = {
    "epoch": 0, "pseudo_labels": None, "gradients": {}, "confidence": None, "entropy": None,
    "losses": {"classification": 3.0, "pod": -1.0}, "logit_gradients": {"classification": 0.0, "pod": 0.0},
}  # fmt: skip


def look(epoch: int, right: int = 20, **changed: Any) -> Diagnosis:
    """Two old classes: 40 and no pixels get them, 80 and 10 are theirs."""
    pixels: Any = {"given": [40, 0], "right": [right, 0], "hidden": [80, 10]}
    seen: Any = {"gradients": {"background": 0.5, "step 0": 0.25}, "confidence": 0.75, "entropy": 0.5}
    return {**EMPTY, "epoch": epoch, "pseudo_labels": pixels, **seen, **changed}


def run(method: str = "gsc", seed: int = 0, *seen: Diagnosis) -> Run:
    """A run of VOC 2-1 in three steps of two epochs, of which the second and the third were looked at."""
    record = one_record(method, "voc_2-1", seed=seed, classes=["a", "b", "c", "d"])
    for step in record["steps"][1:] if seen else ():
        assert step["training"] is not None
        step["training"]["diagnosis"] = list(seen)
    return Run(Path("store/runs") / f"{method}-{seed}", record)


def test_precision_coverage_and_shares_by_hand() -> None:
    assert precision(look(0)) == [50.0, None] and coverage(look(0)) == [25.0, 0.0]
    assert precision(EMPTY) == coverage(EMPTY) == []
    assert shares(EMPTY["losses"]) == {"classification": 75.0, "pod": 25.0}
    assert shares(EMPTY["logit_gradients"]) == {"classification": None, "pod": None}
    assert shares({"a": 1.0, "b": None}) == {"a": None, "b": None}


def test_the_figure_has_means_over_seeds_at_their_time() -> None:
    runs = [run("gsc", seed, look(0, 20), look(2, 40 * seed)) for seed in (0, 1)]
    figure = FIGURES["diagnosis"]([*runs, run("plop", 0, look(0), look(2)), run("mib")])
    axes = {axis.get_ylabel(): axis for axis in figure.axes}
    lines = {line.get_label(): line for line in axes["precision of pseudo-labels (%)"].get_lines()}
    assert {*lines} == {"GSC", "PLOP"}, "MiB was not looked at"
    x, y = lines["GSC"].get_data()
    assert x.tolist() == [1.0, 2.0, 2.0, 2.0, 3.0]
    assert y.tolist()[:2] == y.tolist()[3:] == [50.0, 50.0] and y[2] != y[2], "a gap between the steps"
    assert axes["coverage of pseudo-labels (%)"].get_lines()[0].get_ydata()[0] == 12.5  # of 25 and 0
    assert axes["largest probability"].get_lines()[0].get_ydata()[0] == 0.75
    assert len(axes["precision of pseudo-labels (%)"].collections) == 1, "one seed has no band"


def test_the_terms_of_each_method_have_axes_of_their_own() -> None:
    figure = FIGURES["terms"]([run("gsc", 0, look(0)), run("plop", 0, look(0))])
    assert len(figure.axes) == 6
    first, second, third = figure.axes[:3]
    assert [line.get_ydata()[0] for line in first.get_lines()] == [0.5, 0.25]
    assert [line.get_ydata()[0] for line in second.get_lines()] == [75.0, 25.0]
    assert not third.get_lines(), "nothing has a share of nothing"
    assert [text.get_text() for text in second.get_legend().get_texts()] == ["classification", "pod"]


def test_what_cannot_be_drawn_is_told() -> None:
    assert diagnosed([run()]) == []
    with pytest.raises(FigureError, match="bench run --diagnose"):
        FIGURES["diagnosis"]([run()])
    with pytest.raises(FigureError, match="heads of their own"):
        FIGURES["diagnosis"]([run("gsc", 0, EMPTY)])


def test_the_table_of_classes_has_the_last_look_of_each_method() -> None:
    runs = [run("gsc", 0, look(0), look(2, 20)), run("gsc", 1, look(0), look(2, 40)), run("plop", 0, EMPTY)]
    table = class_table(runs, "here")
    assert table.header == ["class", *(f"{m} / {k}" for m in ("GSC", "PLOP") for k in ("precision", "coverage"))]
    assert table.rows == [["a", "75.0 ± 35.4", "37.5 ± 17.7", "–", "–"], ["b", "–", "0.0 ± 0.0", "–", "–"]]


def test_the_report_shows_what_was_seen(tmp_path: Path) -> None:
    made = [run("gsc", 0, look(0), look(2)), run("plop")]
    runs = [write_run(tmp_path, each.name, each.record) for each in made]
    page = report(runs, tmp_path)
    assert 'id="diagnoses"' in page and "terms of the loss, in training: GSC, voc_2-1" in page
    assert "Pseudo-labels of old classes (%), voc_2-1, overlapped" in page
    assert 'id="diagnoses"' not in report(runs[1:], tmp_path)
    own_head = write_run(tmp_path, "own", run("gsc", 0, EMPTY).record)
    page = report([own_head], tmp_path)
    assert "heads of their own" in page and "Pseudo-labels of old classes" not in page
