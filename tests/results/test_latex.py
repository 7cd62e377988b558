"""LaTeX: it compiles, cites what it names, and escapes what a user may write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from latex import compiled
from made_records import one_record

from issbench.results.citations import bibliography, citation
from issbench.results.definitions import DEFINITIONS
from issbench.results.make_tables import measured_tables, published_tables
from issbench.results.render import render
from issbench.results.render.latex import document, escape
from issbench.results.runs import Run
from issbench.results.table import Cell, Table, text_table

METHODS = ("EWC", "PI", "RW", "LwF", "LwF-MC", "ILT", "MiB", "SDR", "PLOP", "RCIL", "GSC")
"""Those with a paper to cite."""
PRINTED = [name for name, table in DEFINITIONS.items() if table.printed]
NASTY = r"voc_15-1 & 50 % of {a} ~ #1 $x^2$ \end – λ1 ± 2 × ✓ *: [x]"


def key(method: str) -> str:
    (found,) = citation(method)
    return found


def nasty_table() -> Table:
    """What a user may put into names, footnotes and notes, and numbers with all that a cell can have."""
    cells = [[Cell(text=NASTY), Cell(1.0, 0.5, rank=1, footnote=NASTY), Cell(-2.0, signed=True, rank=2)], []]
    cells[1] = [Cell(text="GSC"), Cell(), Cell(3.0)]
    return Table(NASTY, [(NASTY,), ("a_b", "0-1"), ("a_b", "2")], cells, [NASTY, "*: a note with a star"])


@pytest.mark.parametrize("style", ["colour", "plain"])
def test_all_tables_compile(tmp_path: Path, style: str) -> None:
    tables = [table for name in PRINTED for table in published_tables(name)] + [nasty_table()]
    log = compiled(tmp_path, document(render(tables, "latex", style), "table"), bibliography(tables))  # type: ignore[arg-type]
    assert "undefined" not in log
    assert "Overfull" not in log


def test_a_document_without_citations_compiles(tmp_path: Path) -> None:
    table = text_table("no method", ["step", "mIoU"], [["0", "1.0"]])
    text = document(render([table], "latex"), "table")
    assert "bibliography" not in text and bibliography([table]) == ""
    compiled(tmp_path, text, "")


def test_every_citation_has_its_entry() -> None:
    tables = [table for name in PRINTED for table in published_tables(name)]
    text = render(tables, "latex")
    cited = {key for keys in re.findall(r"\\cite\{(.*?)\}", text) for key in keys.split(",")}
    entries = re.findall(r"^@\w+\{(.*),$", bibliography(tables), flags=re.MULTILINE)
    assert sorted(cited) == sorted(entries)
    assert cited >= {key(method) for method in METHODS} - {key("PI"), key("RW")}  # and other papers' methods
    assert not cited & {key("PI"), key("RW")}  # which are in none of the tables


def test_every_key_is_in_the_bibliography_with_what_a_reader_needs() -> None:
    everything = bibliography([text_table("", ["method"], [[name] for name in METHODS])])
    entries = re.split(r"(?=^@)", everything, flags=re.MULTILINE)[1:]
    assert len(entries) == len(METHODS)
    for entry in entries:
        assert entry.count("{") == entry.count("}")
        assert all(
            re.search(rf"^  {field}\s*= \{{.+\}}", entry, re.MULTILINE) for field in ("author", "title", "year")
        )
        assert re.search(r"^  (journal|booktitle)\s*= ", entry, re.MULTILINE)


def test_combinations_cite_both() -> None:
    table = text_table("", ["method"], [["RCIL+GSC"], ["GSC (sg=off)"], ["ILT*"], ["FT"]])
    rows = render([table], "latex").partition(r"\midrule")[2].splitlines()[1:5]
    assert rows[0] == rf"RCIL+GSC~\cite{{{key('RCIL')},{key('GSC')}}} \\"
    assert rows[1] == rf"GSC (sg=off)~\cite{{{key('GSC')}}} \\"
    assert key("ILT") in rows[2] and rows[3] == r"FT \\"


def test_a_method_cites_what_its_class_says() -> None:
    """A plug-in whose title no entry names."""
    record = one_record("ft")
    record["method"] |= {"title": "OurMiB", "cite": key("MiB")}
    (table,) = measured_tables("main", [Run(Path("runs/a"), record)])
    assert rf"OurMiB~\cite{{{key('MiB')}}}" in render([table], "latex")
    assert key("MiB") in bibliography([table])
    record["method"]["cite"] = "nowhere2024"
    (table,) = measured_tables("main", [Run(Path("runs/a"), record)])
    assert "cite" not in render([table], "latex") and bibliography([table]) == ""


def test_styles_of_the_best_and_the_second() -> None:
    (table,) = published_tables("combination")
    (other,) = published_tables("domain")
    assert r"\textcolor{red}{39.4}" in render([table], "latex") and "blue" not in render([table], "latex")
    plain = render([other], "latex", "plain")
    assert r"\textbf{65.7}" in plain and r"\underline{64.3}" in plain and "textcolor" not in plain


def test_escapes() -> None:
    assert escape("a_b & 5 % λ1 λ ± – −") == r"a\_b \& 5 \% $\lambda_1$ $\lambda$ $\pm$ -- $-$"
    assert escape("\\") == r"\textbackslash{}"
