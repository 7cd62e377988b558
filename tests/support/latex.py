"""Compiles LaTeX where a TeX is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def compiled(folder: Path, text: str, references: str) -> str:
    """The text of the log of a document; skips without TeX."""
    (folder / "table.tex").write_text(text, encoding="utf-8")
    (folder / "table.bib").write_text(references, encoding="utf-8")
    if shutil.which("tectonic"):
        commands = [["tectonic", "--keep-logs", "table.tex"]]
    elif shutil.which("pdflatex"):
        latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
        bibtex = [["bibtex", "table"]] if references and shutil.which("bibtex") else []
        commands = [latex, *bibtex, latex, latex]
    else:
        pytest.skip("no TeX here (Debian: texlive-latex-recommended); the tables were not compiled")
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "table.pdf").stat().st_size > 5000
    return (folder / "table.log").read_text(encoding="utf-8", errors="replace")
