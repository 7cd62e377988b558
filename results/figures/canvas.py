"""What all figures share: a blank figure, notes below it, writing it to a file. matplotlib loads on first use."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from issbench.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".pdf", ".png", ".svg")
MOST_PANELS = 12
_TEXT, _SMALL = 8, 7
_DPI = 200
_UNNAMED = re.compile(r"_(child|container)\d+|_nolegend_")
"""Labels that matplotlib itself gives."""


class FigureError(UsageError):
    """A figure that cannot be made of what there is."""


def blank(width: float, height: float) -> Figure:
    """An empty figure, in inches. It belongs to no window and no global list, so nothing has to be closed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def row_of_panels(count: int, width: float, height: float, columns: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure of `count` axes of the given size in inches, row by row. FigureError where they are too many."""
    if count > MOST_PANELS:
        raise FigureError(
            f"{count} panels do not fit in one figure (at most {MOST_PANELS}); `bench figure` draws some of them "
            "with --scenario, --setting, --methods or --run"
        )
    columns = min(columns, count)
    rows = ceil(count / columns)
    figure = blank(width * columns, height * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def write_notes(figure: Figure, notes: Sequence[str]) -> None:
    """Small lines below everything: what was left out, and why."""
    if notes:
        letters = int(figure.get_size_inches()[0] * 17)
        lines = [line for note in dict.fromkeys(notes) for line in textwrap.wrap(note, letters)]
        # The layout makes room for this label; for a free text it would not.
        figure.supxlabel("\n".join(lines), fontsize=_SMALL, color="0.35", x=0.01, ha="left")


def shared_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend to the right of all panels, each name once; the figure grows by what it takes."""
    entries: dict[str, Any] = {}
    for axis in axes:
        found: list[Any] = [*axis.lines, *axis.containers]  # of no common kind
        for drawn in found:
            if not _UNNAMED.fullmatch(str(drawn.get_label())):
                entries.setdefault(str(drawn.get_label()), drawn)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + 0.7 + 0.075 * max(map(len, entries)), max(height, 0.5 + 0.17 * len(entries)))
    named_legend(figure, entries.values(), entries, loc="outside right center", fontsize=_TEXT)


def named_legend(figure: Figure | Axes, drawn: Iterable[Any], names: Iterable[str], **look: Any) -> None:
    """A legend without a frame. A name may begin with `_`, which matplotlib takes for none."""
    legend = figure.legend(handles := list(drawn), [" "] * len(handles), frameon=False, **look)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def tidy(axis: Axes, grid: Literal["both", "y"] = "both") -> None:
    """The look that charts share: no frame above and to the right, a faint grid, small text."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, alpha=0.3)
    axis.tick_params(labelsize=_TEXT)
    for text in (axis.xaxis.label, axis.yaxis.label, axis.title):
        text.set_fontsize(_TEXT + 1)


def check_output(path: Path) -> None:
    """FigureError for a name without a known suffix; checked before anything is computed."""
    if path.suffix.lower() not in SUFFIXES:
        raise FigureError(f"--output {path}: the name must end in {', '.join(SUFFIXES)}")


@contextmanager
def plain_text(figure: Figure) -> Iterator[None]:
    """Draw every text as it is written in this block: a name may hold `$`, which begins a formula in matplotlib,
    and letters that no font has."""
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)
    with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def save_figure(figure: Figure, path: Path, force: bool = False) -> None:
    """Write a figure; the name's end says the format. FigureError for another end, a place without access, or a
    file of the user's there (unless `force`); CannotWrite where room lacks."""
    import matplotlib

    from issbench.outputs import write_output  # numpy, for which names of figures need not wait

    check_output(path)
    # No time of writing, so that equal figures are equal files; type 42 is what publishers accept.
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}[path.suffix.lower()]
    with plain_text(figure), matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "issbench"}):
        drawn = io.BytesIO()
        kind = path.suffix[1:].lower()
        figure.savefig(drawn, format=kind, dpi=_DPI, metadata=metadata, bbox_inches="tight", pad_inches=0.05)
    try:
        write_output(path, drawn.getvalue(), force)
    except UsageError as error:
        raise FigureError(str(error)) from None
