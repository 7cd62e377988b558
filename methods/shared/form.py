"""The two readings of GSC's terms: one option for all of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class FormOptions:
    """`form`: how `sr`, `sc` and `sg` compute: as other code of the authors that is released, or by the letter of
    the paper (docs/methods.md)."""

    form: Literal["released", "paper"] = "released"
