"""Figures of records: what is drawn are the recorded values, and what cannot be drawn is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from commands import bench
from made_records import ENVIRONMENT, one_record
from matplotlib.colors import to_hex
from PIL import Image

from issbench.results.figures import FIGURES, FigureError, save_figure
from issbench.results.figures.images import PictureRow, image_grid, legend_figure
from issbench.results.figures.palette import class_colours, coloured, looks
from issbench.results.figures.panels import panels
from issbench.results.figures.ranks import draw_ranks, joined
from issbench.results.runs import RecordError, Run
from issbench.results.significance import Ranking

NAMES = ["background", "a", "b", "c", "d"]


def run(method: str = "gsc", scores: Sequence[float] = (80.0, 60.0, 40.0), seed: int = 0, **changed: Any) -> Run:
    """A run of 3 steps: two base classes, then one at a time. `scores`: mIoU after each step."""
    lost = changed.pop("forgetting", [1.0, 2.0, 3.0, 4.0, 0.0])
    named = {"scenario": "voc_2-1", "classes": NAMES[1:], **changed}
    groups = [{"0-2": score, "all": score} for score in scores]
    record = one_record(method, seed=seed, scores=groups, forgetting=lost, **named)
    for t, step in enumerate(record["steps"]):
        step["metrics"]["iou"] = [90.0 - t, *[50.0 + t] * (1 + t), None]
    name = f"{method}-{seed}-{abs(hash(str(changed))):x}"
    return Run(Path("store/runs") / name, record)


def texts(figure: Any) -> str:
    """All that can be read in a figure."""
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


def lines(axis: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axis.get_lines()}


def test_steps_are_the_recorded_means_with_a_band_over_seeds() -> None:
    seeds = [[80.0, 60.0, 40.0], [84.0, 62.0, 48.0]]
    runs = [run(scores=scores, seed=seed) for seed, scores in enumerate(seeds)]
    figure = FIGURES["steps"]([*runs, run("plop", [81.0, 50.0, 30.0])])
    (axis,) = figure.axes
    drawn = lines(axis)
    assert drawn["GSC"].get_xdata().tolist() == [0, 1, 2]
    assert drawn["GSC"].get_ydata().tolist() == [mean(pair) for pair in zip(*seeds, strict=True)]
    assert drawn["PLOP"].get_ydata().tolist() == [81.0, 50.0, 30.0]
    (band,) = axis.collections  # one seed has no band
    edge = band.get_paths()[0].vertices
    assert max(edge[edge[:, 0] == 2, 1]) == pytest.approx(44 + stdev([40, 48]))
    assert "Bands: ± sample standard deviation over seeds, of which a method has 1 to 2." in texts(figure)


def test_figures_say_what_their_bars_and_bands_are() -> None:
    seeds = [run(seed=seed, forgetting=[1.0, -0.04, 3.0, 4.0 + seed, 0.0]) for seed in range(3)]
    for name, drawn in (("steps", "Bands"), ("forgetting", "Bars")):
        words = texts(FIGURES[name](seeds)).replace("\n", " ")
        assert f"{drawn}: ± sample standard deviation over seeds, of which a method has 3." in words
        words = texts(FIGURES[name](seeds[:1])).replace("\n", " ")
        assert f"One seed each: no {drawn.lower()}, and what another seed would change is not known." in words
    assert "the lowest and the highest point of a method, the background included" in words
    assert "GSC (0.0 to 4.0)" in words  # never −0.0
    words = texts(FIGURES["class-order"]([run(order=order) for order in "ABC"])).replace("\n", " ")
    assert "dots: the orders, each the mean over its seeds" in words


def test_joint_training_has_nothing_to_forget() -> None:
    joint = run("joint")
    del joint.steps[:2]
    figure = FIGURES["forgetting"]([joint, run()])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["GSC (1.0 to 4.0)"]
    assert "Joint: trained in one step, nothing to forget; left out." in texts(figure).replace("\n", " ")
    with pytest.raises(FigureError, match="Joint: trained in one step, so nothing"):
        FIGURES["forgetting"]([joint])


def test_a_step_that_is_skipped_is_not_drawn() -> None:
    joint = run("joint")
    del joint.steps[1]
    (axis,) = FIGURES["steps"]([joint, run()]).axes
    assert lines(axis)["Joint"].get_xdata().tolist() == [0, 2]


def test_runs_that_differ_in_recipe_scenario_or_setting_have_panels_of_their_own() -> None:
    runs = [run(), run(recipe={"lr": 0.2}), run(setting="disjoint"), run("plop", setting="disjoint")]
    figure = FIGURES["steps"](runs)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["voc_2-1, disjoint", "voc_2-1, overlapped\nlr=0.001", "voc_2-1, overlapped\nlr=0.2"]
    assert [len(lines(axis)) for axis in figure.axes] == [2, 1, 1]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == ["GSC", "PLOP"]


def test_an_imported_run_stands_beside_every_recipe_of_ours() -> None:
    found, _ = panels([run(), run(recipe={"lr": 0.2}), run("rcil", imported=True)])
    assert [[r.spec for r in panel.runs] for panel in found] == [["gsc", "rcil-imported"]] * 2
    assert [panel.title.partition("\n")[2] for panel in found] == ["lr=0.001", "lr=0.2"]


def test_runs_on_other_data_have_a_panel_of_their_own() -> None:
    found, _ = panels([run(), run("plop", data="77b1" + "0" * 28)])
    assert [panel.title.partition("\n")[2] for panel in found] == ["data 77b10000", "data 3f2a91c4"]


def test_runs_that_were_not_made_alike_share_a_panel_with_a_note() -> None:
    other = run("plop")
    for step in other.steps:
        assert step["training"]
        step["training"]["environment"] = {**ENVIRONMENT, "threads": 2}
    assert "Not made alike: 2 and 1 threads." in texts(FIGURES["steps"]([run(), other]))


def test_unfinished_runs_are_left_out_and_named() -> None:
    figure = FIGURES["steps"]([run(), run("plop", complete=False)])
    assert list(lines(figure.axes[0])) == ["GSC"]
    assert "PLOP, voc_2-1, overlapped, seed 0: unfinished, 2 of 3 steps done; left out" in texts(figure).replace(
        "\n", " "
    )
    for name in ("steps", "forgetting", "class-order"):
        with pytest.raises(FigureError, match="no finished run"):
            FIGURES[name]([run("plop", complete=False)])


def test_contradicting_runs_of_one_seed_are_no_point() -> None:
    figure = FIGURES["steps"]([run(), run(scores=[80.0, 61.0, 40.0])])
    assert lines(figure.axes[0])["GSC"].get_xdata().tolist() == [0, 2]
    assert "runs of one seed (0) differ" in texts(figure)


def test_forgetting_leaves_out_the_last_step_and_names_the_range() -> None:
    runs = [run(forgetting=[1.0, -2.0, 9.0, 4.0, 0.0]), run(forgetting=[3.0, -4.0, 11.0, 6.0, 0.0], seed=1)]
    figure = FIGURES["forgetting"]([*runs, run("plop", forgetting=[5.0, None, 5.0, 5.0, 5.0])])
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.get_xticklabels()] == NAMES[:4]
    points = {bar.get_label(): bar.lines[0] for bar in axis.containers}
    assert points["GSC (−3.0 to 10.0)"].get_ydata().tolist() == [2.0, -3.0, 10.0, 5.0]
    assert np.round(points["PLOP (5.0 to 5.0)"].get_xdata()).tolist() == [0, 2, 3]


def test_class_order_draws_the_quartiles_of_the_orders() -> None:
    scores = {"A": 10.0, "B": 20.0, "C": 30.0, "D": 40.0, "E": 90.0}
    runs = [run(scores=[0.0, 0.0, score], order=order) for order, score in scores.items()]
    runs += [run("plop", scores=[0.0, 0.0, 5.0], order=order) for order in "ABC"]
    figure = FIGURES["class-order"](runs)
    (axis,) = figure.axes
    box = axis.patches[1].get_path().vertices[:, 1]
    assert (box.min(), box.max()) == (20.0, 40.0)
    means = [line.get_ydata()[0] for line in axis.get_lines() if line.get_marker() == "D"]
    assert 38.0 in means and 5.0 in means
    assert [text.get_text() for text in axis.get_xticklabels()] == ["PLOP\n(3 of 5)", "GSC"]
    assert {text.get_text() for text in axis.texts} == set("ABCDE")
    assert "Orders:" not in texts(figure)


def test_class_orders_with_long_names_are_letters_with_a_legend() -> None:
    runs = [run(scores=[0.0, 0.0, 9.0 * i], order=order) for i, order in enumerate(["B", "random:7", "random:12"])]
    figure = FIGURES["class-order"](runs)
    heights = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert heights == {"B": 0.0, "b": 9.0, "a": 18.0}
    assert "Orders: a random:12, b random:7." in texts(figure)


def test_heat_map_holds_the_iou_of_each_class_and_step() -> None:
    figure = FIGURES["class-steps"]([run(), run("plop", complete=False)])
    shown = [axis.images[0].get_array() for axis in figure.axes[:2]]
    assert shown[0].shape == (5, 3) and shown[1].shape == (5, 2)
    assert shown[0][0].tolist() == [90.0, 89.0, 88.0] and shown[0][1].tolist() == [50.0, 51.0, 52.0]
    assert shown[0].mask.tolist()[3] == [True, True, False]
    assert shown[0].mask[4].all()
    assert "unfinished" in figure.axes[1].get_title()
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == NAMES


def test_heat_map_refuses_brief_records() -> None:
    brief = run()
    del brief.steps[0]["metrics"]["iou"]  # type: ignore[misc]
    with pytest.raises(FigureError, match="load them in full"):
        FIGURES["class-steps"]([brief])


def test_critical_difference_ranks_over_the_cells_that_all_have() -> None:
    best = {"gsc": 60.0, "plop": 50.0, "mib": 40.0}
    runs = [
        run(m, [0.0, 0.0, s + seed + 0.1 * seed * len(m)], seed=seed) for m, s in best.items() for seed in range(8)
    ]
    runs.append(run("joint"))
    said = texts(FIGURES["critical-difference"](runs))
    assert "GSC  1.00" in said and "PLOP  2.00" in said and "MiB  3.00" in said and "Joint" not in said
    assert "Mean ranks over 8 seeds, 1 is best (Friedman test by permutation: p < 0.001)" in said
    assert "Wilcoxon's signed-rank test (level 5%, Holm's correction for 3 pairs)" in said
    assert "about other seeds of voc_2-1 (a, b, c, d), overlapped" in said and "can tell none apart" not in said
    few = texts(FIGURES["critical-difference"]([each for each in runs if each.seed < 5]))
    assert "With fewer than 7 seeds it can tell none apart." in few


def test_critical_difference_tells_why_it_cannot_be() -> None:
    with pytest.raises(FigureError, match="3 methods or more, got GSC, PLOP"):
        FIGURES["critical-difference"]([run("gsc"), run("plop")])
    with pytest.raises(FigureError, match="all share only 1"):
        FIGURES["critical-difference"]([run("gsc"), run("plop"), run("mib")])


def test_bars_join_the_methods_that_do_not_differ() -> None:
    apart = {(a, b): 0.01 if b - a > 1 or (a, b) == (2, 3) else 0.3 for a in range(4) for b in range(a + 1, 4)}
    found = Ranking(("a", "b", "c", "d"), (1.0, 1.9, 2.8, 4.0), 20, 0.001, apart)
    assert joined(found) == [(1.0, 1.9), (1.9, 2.8)]
    bars = [line for line in draw_ranks(found, "20 seeds").axes[0].get_lines() if line.get_gid() == "bar"]
    assert len(bars) == 2
    # a and c are not told apart, so they share a bar, though b is from both.
    unsure = Ranking(("a", "b", "c"), (1.0, 2.0, 3.0), 30, 0.04, {(0, 1): 0.01, (0, 2): 0.06, (1, 2): 0.01})
    assert joined(unsure) == [(1.0, 3.0)]


def test_too_many_panels_are_refused() -> None:
    runs = [run(scenario=f"voc_2-{n}") for n in range(1, 15)]
    with pytest.raises(FigureError, match=r"14 panels.*--scenario"):
        FIGURES["steps"](runs)


def test_methods_differ_in_look_and_have_that_of_their_class() -> None:
    known = [run(m) for m in ("ft", "joint", "ewc", "lwf", "lwf-mc", "ilt", "mib", "sdr", "plop", "rcil", "gsc")]
    others = [run(f"gsc:lambda1=0.{i}") for i in range(10)] + [run("rcil+gsc"), run("rcil", imported=True)]
    found = looks([*known, *others])
    assert len(found) == len(known) + len(others)
    assert len({(look.colour, look.marker, look.dashes) for look in found.values()}) == len(found)
    assert len({look.marker for look in found.values()}) == len(found)
    facts = known[-1].method
    assert found["GSC"] == looks([run("unknown"), known[-1]])["GSC"]
    assert (found["GSC"].colour, found["GSC"].marker) == (facts["colour"], facts["marker"])


def test_class_colours_are_vocs_with_white_for_ignored_pixels() -> None:
    colours = class_colours()
    official = {0: (0, 0, 0), 1: (128, 0, 0), 7: (128, 128, 128), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {label: tuple(colours[label].tolist()) for label in official} == official
    assert colours[255].tolist() == [255, 255, 255]
    assert len({tuple(colour) for colour in colours.tolist()}) == 256


def test_a_grid_shows_labels_in_their_colours_and_names_those_that_occur() -> None:
    labels = np.array([[0, 15], [255, 0]], np.uint8)
    photo = np.full((2, 2, 3), 7, np.uint8)
    figure = image_grid(
        [PictureRow([photo, labels]), PictureRow([photo, None], "GSC")], ["image", "PLOP"], {0: "bg", 15: "person"}
    )
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert np.array_equal(shown[0], photo) and np.array_equal(shown[1], coloured(labels)) and len(shown) == 3
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["bg", "person", "ignored"]
    assert [to_hex(patch.get_facecolor()) for patch in legend.get_patches()] == ["#000000", "#c08080", "#ffffff"]
    assert "GSC" in texts(figure)
    with pytest.raises(FigureError, match="2 columns"):
        image_grid([PictureRow([photo])], ["image", "PLOP"], {})


def test_legend_has_every_class() -> None:
    names = {label: f"class {label}" for label in range(21)}
    assert [text.get_text() for text in legend_figure(names).legends[0].get_texts()] == list(names.values())


def test_files_are_of_their_kind_and_equal_for_equal_figures(tmp_path: Path) -> None:
    for suffix in ("pdf", "png", "svg"):
        for name in ("one", "two"):
            save_figure(FIGURES["steps"]([run()]), tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()
    pdf = (tmp_path / "one.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and b"/Subtype /Image" not in pdf  # lines, no pixels
    with Image.open(tmp_path / "one.png") as png:
        assert min(png.size) > 400
    assert "<svg" in (tmp_path / "one.svg").read_text()
    with pytest.raises(FigureError, match=r"must end in \.pdf, \.png, \.svg"):
        save_figure(FIGURES["steps"]([run()]), tmp_path / "one.jpg")
    with pytest.raises(FigureError, match="cannot be written"):
        save_figure(FIGURES["steps"]([run()]), tmp_path / "no" / "one.png")


def test_reading_the_figures_names_loads_neither_matplotlib_nor_torch() -> None:
    code = (
        "import sys, issbench.results.figures; "
        "sys.exit(bool({'matplotlib', 'torch', 'scipy.stats', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of twelve finished runs."""
    from many_records import make_store

    out = tmp_path_factory.mktemp("figures")
    make_store(out, 24)
    return out


def test_the_command_writes_the_file(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "steps.pdf"
    said = bench(
        "figure", "steps", "--out", store, "--scenario", "voc_15-5", "--methods", "gsc,plop", "--output", path
    )
    assert said.strip() == f"wrote {path}" and path.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["steps", "--output", "x.jpg"], [".pdf, .png, .svg"]),
        (["steps", "--scenario", "voc_1-1", "--output", "x.pdf"], ["no run of scenario voc_1-1", "bench run"]),
        (["steps", "--methods", "plob", "--output", "x.pdf"], ["plob", "did you mean plop"]),
        (["class-steps", "--run", "nothing", "--output", "x.pdf"], ["no run 'nothing'"]),
        (["step", "--output", "x.pdf"], ["step", "class-steps"]),
        (["predictions", "--output", "x.pdf"], ["one scenario", "--scenario"]),
    ],
)
def test_the_command_tells_what_is_wrong(
    store: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    said = bench("figure", *arguments[:-1], tmp_path / arguments[-1], "--out", store, code=2)
    assert all(word in said for word in words), said
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_store_is_told(tmp_path: Path) -> None:
    assert "not a run store" in bench("figure", "steps", "--out", tmp_path, "--output", tmp_path / "x.pdf", code=2)
    with pytest.raises(RecordError, match="no group"):
        FIGURES["critical-difference"]([run(m) for m in ("gsc", "plop", "mib")], group="x-y")
