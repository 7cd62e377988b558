"""Marks of footnotes as raised letters, for formats of plain text."""

from __future__ import annotations

_RAISED = dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))


def superscript(mark: str) -> str:
    """Raised letters; q has none and stays as it is, in brackets."""
    return "".join(_RAISED.get(letter, f"({letter})") for letter in mark)
