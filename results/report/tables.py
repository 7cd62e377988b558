"""Tables of the report: they sort on a click, scroll in their own box, and have their notes below."""

from __future__ import annotations

from results.render import html
from results.report.markup import Html, joined, tag
from results.table import Table


def table_box(table: Table, texts: bool = False) -> Html:
    """A table in a box that scrolls sideways; its notes stand below and do not scroll with it. `texts`: its cells are
    words, which stand left."""
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
    notes = [tag("li", Html(note)) for note in html.notes(table)]
    return joined(box, tag("ul", *notes, class_="notes") if notes else Html(""))


def table_boxes(tables: list[Table], texts: bool = False) -> Html:
    """Several tables after each other."""
    return joined(*(table_box(table, texts) for table in tables))
