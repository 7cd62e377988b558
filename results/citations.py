"""What to cite for a method: keys, and the entries of `references.bib`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from issbench.results.table import Table

KEYS = {
    "EWC": "kirkpatrick2017overcoming",
    "PI": "zenke2017continual",
    "RW": "chaudhry2018riemannian",
    "LwF": "li2018learning",
    "LwF-MC": "rebuffi2017icarl",
    "ILT": "michieli2019incremental",
    "MiB": "cermelli2020modeling",
    "SDR": "michieli2021continual",
    "PLOP": "douillard2021plop",
    "RCIL": "zhang2022representation",
    "GSC": "cong2024gradient",
}


def citation(text: str) -> list[str]:
    """Keys of the methods that a title names: `RCIL+GSC`, `ILT*`, `GSC (lambda1=0.5)`; none for others."""
    names = text.partition(" (")[0].replace("*", "").split("+")
    return [KEYS[name] for name in names if name in KEYS]


def bibliography(tables: Iterable[Table]) -> str:
    """The BibTeX entries of the methods that tables name, in the order of METHODS' keys."""
    named: set[str] = set()
    for table in tables:
        texts = [head[-1] for head in table.heads[: table.stubs]]
        texts += [str(cell) for row in table.cells for cell in row[: table.stubs]]
        named.update(key for text in texts for key in citation(text))
    return "\n".join(entry for key, entry in _entries().items() if key in named)


@cache
def _entries() -> dict[str, str]:
    text = (files("issbench.results") / "references.bib").read_text(encoding="utf-8")
    found = re.findall(r"^@\w+\{([^,]+),.*?^\}\n", text, flags=re.MULTILINE | re.DOTALL)
    whole = re.findall(r"^@\w+\{.*?^\}\n", text, flags=re.MULTILINE | re.DOTALL)
    return dict(zip(found, whole, strict=True))
