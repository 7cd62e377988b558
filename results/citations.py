"""What to cite for a method: keys, and the entries of `references.bib`, each of which names its method."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from issbench.results.table import Cell, Table


def citation(text: str) -> list[str]:
    """Keys of the methods that a title names: `RCIL+GSC`, `ILT*`, `GSC (lambda1=0.5)`; none for others."""
    names = text.partition(" (")[0].replace("*", "").split("+")
    return [key for name in names for key, (method, _) in _entries().items() if method == name]


def cited(cell: Cell) -> list[str]:
    """Keys of what to cite in a cell that names a method: those of its title, and that of its class."""
    own = [cell.cite] if cell.cite in _entries() else []
    return list(dict.fromkeys([*citation(str(cell)), *own]))


def bibliography(tables: Iterable[Table]) -> str:
    """The BibTeX entries of the methods that tables name, in the order of `references.bib`."""
    named: set[str] = set()
    for table in tables:
        named.update(key for head in table.heads[: table.stubs] for key in citation(head[-1]))
        named.update(key for row in table.cells for cell in row[: table.stubs] for key in cited(cell))
    return "\n".join(entry for key, (_, entry) in _entries().items() if key in named)


@cache
def _entries() -> dict[str, tuple[str, str]]:
    """By key: the title of the method, and the entry as it stands."""
    text = (files("issbench.results") / "references.bib").read_text(encoding="utf-8")
    found = {}
    for entry in re.finditer(r"^@\w+\{([^,]+),.*?^\}\n", text, flags=re.MULTILINE | re.DOTALL):
        method = re.search(r"^ *method *= \{(.*)\},$", entry[0], flags=re.MULTILINE)
        found[entry[1]] = (method[1] if method else "", entry[0])
    return found
