"""The figures of the report, drawn into the page itself as SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING

from issbench.results.figures import FIGURES
from issbench.results.figures.canvas import plain_text
from issbench.results.report.markup import Html, joined, tag
from issbench.results.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHAT = {
    "steps": "mIoU after each step",
    "forgetting": "Forgetting of each class",
    "class-order": "mIoU over class orders",
    "critical-difference": "Mean ranks with the critical difference",
    "diagnosis": "Pseudo-labels and confidence in training",
    "terms": "Gradients by step, and terms of the loss, in training",
}
"""What the figures show, by name."""


class Figures:
    """Draws figures of runs, and numbers them, so that what they define for themselves has names of its own."""

    def __init__(self, drawers: dict[str, Callable[..., Figure]] | None = None) -> None:
        self._drawers = FIGURES if drawers is None else drawers
        self._number = count(1)

    def of_place(self, runs: Sequence[Run], place: str) -> Html:
        """The figures of the runs of one scenario and setting."""
        parts = [self.draw("steps", runs, place), self.draw("forgetting", runs, place)]
        if len({run.order for run in runs}) > 1:
            parts.append(self.draw("class-order", runs, place))
        parts.append(self.draw("critical-difference", runs, place))
        return joined(*parts)

    def draw(self, name: str, runs: Sequence[Run], of: str) -> Html:
        """A figure `of` a scenario in words; where it does not apply, the reason."""
        try:
            figure = self._drawers[name](list(runs))
        except ValueError as error:  # what records, tables and figures raise where they do not apply
            return tag("p", f"No figure “{WHAT[name]}” of {of}: {error}", class_="absent")
        title = f"{WHAT[name]}: {of}"
        picture = inline_svg(figure, f"figure{next(self._number)}-", title)
        return tag("figure", tag("div", picture, class_="scroll"), tag("figcaption", title))


def inline_svg(figure: Figure, prefix: str, label: str) -> Html:
    """A figure as an element of a page. Its ids start with `prefix`; it refers to nothing outside."""
    import matplotlib

    text = io.StringIO()
    with (
        plain_text(figure),
        matplotlib.rc_context({"svg.hashsalt": prefix}),
    ):  # ids that do not change from one report to the next
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    drawing = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    head, inner = re.findall(r"<svg([^>]*)>(.*)</svg>", drawing, flags=re.DOTALL)[0]
    inner = re.sub(r"<!--.*?-->", "", inner, flags=re.DOTALL)
    inner = re.sub(r'(<image[^>]*?) id="[^"]*"', r"\1", inner)  # nobody refers to it, and equal images share it
    inner = re.sub(r'\bid="', f'id="{prefix}', inner)
    inner = re.sub(r'(?:xlink:)?href="#', f'href="#{prefix}', inner).replace("url(#", f"url(#{prefix}")
    box = re.findall(r'viewBox="([^"]*)"', head)[0]
    width = round(float(box.split()[2]) * 4 / 3)  # points to pixels
    # Smaller than 60 % nobody can read it: then its box scrolls.
    size = f"max-width:{width}px;min-width:{round(0.6 * width)}px"
    return tag("svg", Html(inner), viewBox=box, role="img", aria_label=label, style=size)
