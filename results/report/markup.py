"""HTML elements: every text is escaped once, where it enters the page."""

from __future__ import annotations

from html import escape


class Html(str):
    """Text that is markup already."""


def tag(name: str, *children: str, **attributes: str) -> Html:
    """An element. Children that are not `Html` are escaped, as are the values of attributes; `class_` is `class`,
    `aria_label` is `aria-label`."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: str) -> Html:
    """Several elements or texts after each other."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def listing(texts: list[str]) -> Html:
    """Sentences as a list, or nothing."""
    return tag("ul", *(tag("li", text) for text in texts)) if texts else Html("")


def facts(pairs: list[tuple[str, str]]) -> Html:
    """Names with their values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs), class_="facts")


def section(anchor: str, title: str, *children: str) -> Html:
    """A part of the page with its heading."""
    heading = tag("h2", title, id=f"{anchor}-title")
    return tag("section", heading, *children, id=anchor, aria_labelledby=f"{anchor}-title")


def details(summary: str, *children: str, **attributes: str) -> Html:
    """A part that opens on a click."""
    return tag("details", tag("summary", summary), *children, **attributes)
