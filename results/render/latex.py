"""LaTeX with booktabs: heads over their columns, \\cite after methods, notes below the table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from issbench.results.citations import citation, cited
from issbench.results.table import Cell, Table

PACKAGES = ("booktabs", "xcolor", "amssymb")
_RANKS = {"colour": (r"\textcolor{red}{%s}", r"\textcolor{blue}{%s}"), "plain": (r"\textbf{%s}", r"\underline{%s}")}
_SIGNS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\n": " ", "\r": " ",
    "[": "{[}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "–": "--", "−": "$-$", "±": r"$\pm$", "×": r"$\times$",
    "λ1": r"$\lambda_1$", "λ2": r"$\lambda_2$", "λ": r"$\lambda$", "✓": r"$\checkmark$", "�": "?",
}  # fmt: skip
_ANY = re.compile("|".join(re.escape(sign) for sign in sorted(_SIGNS, key=len, reverse=True)))
_SIZES = ((9, "small"), (13, "footnotesize"), (19, "scriptsize"))  # columns that fit on a page

_NOTES_WIDTH = r"\ifdim\wd0<.6\textwidth .6\textwidth\else\wd0\fi"
"""As wide as the table, which is in box 0, but not so narrow that sentences break too often."""


def render(table: Table, style: str = "colour") -> str:
    """A `table*` for a document with PACKAGES."""
    size = next((name for columns, name in _SIZES if len(table.heads) <= columns), "tiny")
    columns = "l" * table.stubs + "r" * (len(table.heads) - table.stubs)
    notes = [escape(note) for note in table.notes]
    notes += [f"$^{{{mark}}}$ {escape(text)}" for text, mark in table.footnotes.items()]
    lines = [
        f"% needs \\usepackage{{{','.join(PACKAGES)}}}",
        r"\begin{table*}[t]",
        r"\centering",
        rf"\caption{{{escape(table.title)}}}",
        rf"\label{{tab:{_label(table.title)}}}",
        rf"\{size}",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\sbox0{{\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_heads(table),
        r"\midrule",
        *(" & ".join(_cell(cell, table, style, i) for i, cell in enumerate(row)) + r" \\" for row in table.cells),
        r"\bottomrule",
        r"\end{tabular}}\usebox0",
    ]
    if notes:
        lines += [
            "",
            r"\smallskip",
            rf"\begin{{minipage}}{{{_NOTES_WIDTH}}}\footnotesize",
            "\\par\n".join(notes),
            r"\end{minipage}",
        ]
    return "\n".join([*lines, r"\end{table*}"])


def document(body: str, bibliography: str | None) -> str:
    """A whole document around rendered tables; `bibliography` is the name of the .bib file without its suffix."""
    lines = [r"\documentclass[10pt]{article}", r"\usepackage[utf8]{inputenc}"]
    lines += [r"\usepackage[a4paper,landscape,margin=1.5cm]{geometry}", r"\setlength{\belowcaptionskip}{4pt}"]
    lines += [rf"\usepackage{{{','.join(PACKAGES)}}}", r"\begin{document}", body.rstrip("\n")]
    if bibliography and r"\cite{" in body:
        lines += [r"\clearpage", r"\bibliographystyle{plain}", rf"\bibliography{{{bibliography}}}"]
    return "\n".join([*lines, r"\end{document}"]) + "\n"


def _label(title: str) -> str:
    """A title as \\ref names it: `voc-15-1-overlapped-order-natural`."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def escape(text: str) -> str:
    """Text with what is special to LaTeX written out."""
    return _ANY.sub(lambda found: _SIGNS[found[0]], text)


def _heads(table: Table) -> list[str]:
    """The lines of heads, each but the last with a rule under what spans columns."""
    levels, lines = table.levels(), []
    for depth, level in enumerate(levels):
        fields, rules, start = [], [], 1
        for text, span in level:
            shown = escape(text) + (_cite(citation(text)) if start <= table.stubs else "")
            single = start <= table.stubs or (span == 1 and depth + 1 == len(levels))
            fields.append(shown if single else rf"\multicolumn{{{span}}}{{c}}{{{shown}}}")
            if text and depth + 1 < len(levels):
                rules.append(rf"\cmidrule(lr){{{start}-{start + span - 1}}}")
            start += span
        lines.append(" & ".join(fields) + r" \\" + " ".join(rules))
    return lines


def _cell(cell: Cell, table: Table, style: str, column: int) -> str:
    text = escape(str(cell))
    if cell.rank:
        text = _RANKS[style][cell.rank - 1] % text
    if column < table.stubs:
        text += _cite(cited(cell))
    mark = table.footnotes.get(cell.footnote)
    return text + (rf"\rlap{{$^{{{mark}}}$}}" if mark else "")


def _cite(keys: Sequence[str]) -> str:
    return rf"~\cite{{{','.join(keys)}}}" if keys else ""
