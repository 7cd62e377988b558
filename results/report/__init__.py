"""The report: one HTML file of all that a run store holds. It needs no network and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from issbench.results.diagnosis import class_table, diagnosed
from issbench.results.figures.panels import panels
from issbench.results.make_tables import joined_tables, measured_tables, paper_order
from issbench.results.report.boxes import table_box, table_boxes
from issbench.results.report.cost import cost_table
from issbench.results.report.details import run_details
from issbench.results.report.figures import Figures
from issbench.results.report.heat import heat_tables
from issbench.results.report.markup import Html, joined, listing, section, tag
from issbench.results.report.overview import overview
from issbench.results.report.settings import environment_table, recipe_table
from issbench.results.report.words import shared, statistics
from issbench.results.runs import Run
from issbench.results.table import TableError

_HERE = Path(__file__).parent
_PARTS = ("ablation", "class-order", "hyperparameters", "combination")
"""Tables that are shown where they compare something."""
_TITLE = "Incremental semantic segmentation: what was measured"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Browsers then load nothing from anywhere."""


def report(runs: Sequence[Run], folder: Path, both: bool = False, figures: Figures | None = None) -> str:
    """The page. `folder` is where it will lie, to which its links to the runs are relative; `both` adds the
    paper's numbers beside ours."""
    runs = sorted(runs, key=paper_order)
    places, settings = _places(runs), [recipe_table(runs), environment_table(runs)]
    figures, seen = figures or Figures(), [run for run in diagnosed(runs) if run.complete]
    sections = [
        section("overview", "What was run", overview(runs)),
        section("tables", "Tables", _tables(runs)),
        *([section("published", "Beside the published numbers", _published(runs))] if both else []),
        section("figures", "Figures", _figures(places, figures)),
        *([section("diagnoses", "Diagnoses", _diagnoses(seen, figures))] if seen else []),
        section("statistics", "Statistics", statistics(places)),
        section("settings", "Settings and versions", table_boxes(settings, texts=True)),
        section("cost", "Time and memory", table_box(cost_table(runs))),
        section("runs", "Runs", run_details(runs, folder)),
    ]
    return _page(sections)


def _places(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each scenario and setting, by their names in words."""
    places: dict[str, list[Run]] = {}
    for run in runs:
        places.setdefault(run.place, []).append(run)
    return places


def _tables(runs: Sequence[Run]) -> Html:
    """The main tables; others where they have two rows or more."""
    note = "A click on the head of a column sorts by it. The best of a column is bold, the second underlined."
    tables = measured_tables("main", runs)
    for name in ("hiou", "steps", "forgetting", *_PARTS):
        found = measured_tables(name, runs)
        wanted = name not in _PARTS or (name == "class-order" and len({run.order for run in runs}) > 1)
        tables += [table for table in found if wanted or (name != "class-order" and len(table.rows) > 1)]
    return joined(tag("p", note), table_boxes(tables, fold=True))


def _published(runs: Sequence[Run]) -> Html:
    """Ours beside the paper's, or why there is nothing to show."""
    parts = []
    for name in ("main", "domain", "hiou", *_PARTS):
        try:
            parts.append(table_boxes(joined_tables(name, runs), fold=True))
        except TableError as error:
            parts.append(listing([str(error)]))
    return joined(*parts)


def _figures(places: dict[str, list[Run]], figures: Figures) -> Html:
    """Of each scenario and setting; over all of them where there are several."""
    parts = [
        joined(tag("h3", title), figures.of_place(members, title), heat_tables(members))
        for title, members in places.items()
    ]
    if len(places) > 1:
        of = "the methods that all scenarios and settings have"
        parts += [tag("h3", "All scenarios together"), figures.draw("critical-difference", shared(places), of)]
    return joined(*parts)


def _diagnoses(runs: Sequence[Run], figures: Figures) -> Html:
    """What was seen of trainings: figures, and a table of classes, for each set of runs that may be compared."""
    parts = []
    for panel in panels(runs)[0]:
        title = panel.title.replace("\n", ", ")
        parts += [tag("h3", title), figures.draw("diagnosis", panel.runs, title)]
        for method in dict.fromkeys(run.label for run in panel.runs):
            own = [run for run in panel.runs if run.label == method]
            parts.append(figures.draw("terms", own, f"{method}, {title}"))
        table = class_table(panel.runs, title)
        parts += [table_box(table)] * bool(table.cells)  # none where no class is hidden
    return joined(*parts)


def _page(sections: list[Html]) -> str:
    """The document, with its style and its script inside."""
    links = [tag("a", name, href=f"#{name}") for name in _anchors(sections)]
    body = joined(
        tag("header", tag("h1", _TITLE), tag("nav", *links, aria_label="Sections")), tag("main", *sections)
    )
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_TITLE}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n"
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _anchors(sections: list[Html]) -> list[str]:
    return [each.partition('id="')[2].partition('"')[0] for each in sections]
