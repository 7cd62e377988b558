"""Tables of the report: they sort on a click, scroll in their own box, and have their notes below."""

from __future__ import annotations

from collections.abc import Sequence

from issbench.results.render import html
from issbench.results.report.markup import Html, details, joined, tag
from issbench.results.table import Table

_LONG = 240
"""Letters of a note that is folded behind its first sentence."""


def table_box(table: Table, texts: bool = False, fold: bool = False) -> Html:
    """A table in a box that scrolls sideways; its notes stand below and do not scroll with it.

    `texts`: its cells are words, which stand left. `fold`: of a long note (recipe, protocol) the first sentence is
    shown, the rest on a click.
    """
    # Bold and underlined: red and blue are hard to read on a dark page.
    inner = Html("\n".join(html.body(table, "plain")))
    box = tag(
        "div",
        tag("table", inner, class_="bench sortable" + " texts" * texts),
        class_="scroll",
        role="region",
        tabindex="0",
        aria_label=table.title,
    )
    notes = [tag("li", _folded(Html(note)) if fold else Html(note)) for note in html.notes(table)]
    return joined(box, tag("ul", *notes, class_="notes") if notes else Html(""))


def table_boxes(tables: Sequence[Table], texts: bool = False, fold: bool = False) -> Html:
    """Several tables after each other."""
    return joined(*(table_box(table, texts, fold) for table in tables))


def _folded(note: Html) -> Html:
    first, stop, rest = note.partition(". ")
    if len(note) < _LONG or not stop:
        return note
    return details(Html(f"{first}."), Html(rest), class_="note")
