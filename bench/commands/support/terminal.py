"""Standard output and standard error, whatever they are: a terminal of few letters, a pipe that closes early."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata

_PLAIN = str.maketrans("–—−─×·•…’“”≤≥→✓", '----x.*.\'""<>>x')
"""What stands for typographic signs where a terminal has none."""


def prepare() -> None:
    """A character that the terminal's encoding lacks is written as one that it has, never an error. Of several
    processes that train together only rank 0 writes to standard output; every rank may write errors."""
    codecs.register_error("issbench", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="issbench")
    if os.environ.get("RANK", "0") != "0":
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # for good


def give_up_output() -> None:
    """Standard output takes no more: what is still to be written is dropped, else Python fails once more at its
    end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # no file stands behind it
        sys.stdout = io.StringIO()


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_without_marks, error.object[error.start : error.end].translate(_PLAIN))), error.end


def _without_marks(letter: str) -> str:
    """`e` for é, `a` for ᵃ, a question mark where there is nothing like it in ASCII."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", letter) if sign.isascii()) or "?"
