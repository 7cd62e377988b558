"""Damages files of a run store at random, in all the ways that happen to files."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 1e300, 10**30, 10**400, float("nan"), float("inf"), "", "x", "../../etc/passwd",
    "<script>\x1b[31m", [], {}, [[1]], {"x": None}
)  # fmt: skip


def kind_of(path: Path, store: Path) -> str:
    """What sort of file it is: its place in the store without the names of runs, steps and hashes."""
    parts = path.relative_to(store).parts
    place = parts[0] if len(parts) > 2 or parts[0] == "steps" else ""
    name = re.sub(r"[0-9a-f]{8,}", "HASH", parts[-1])
    return f"{place}/{re.sub(r'[0-9]+', 'N', name)}"


def files_of(store: Path) -> dict[str, list[Path]]:
    """The files of a store by their kind."""
    found: dict[str, list[Path]] = {}
    for path in sorted(store.rglob("*")):
        if path.is_file():
            found.setdefault(kind_of(path, store), []).append(path)
    return found


def flip(path: Path, draw: random.Random) -> str:
    """Turn one bit over."""
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return f"a bit of byte {place} flipped"


def cut(path: Path, draw: random.Random) -> str:
    """Keep the beginning alone."""
    content = path.read_bytes()
    size = draw.choice([0, draw.randrange(len(content)), len(content) - 1])
    path.write_bytes(content[:size])
    return f"cut to {size} of {len(content)} bytes"


def foreign(path: Path, draw: random.Random) -> str:
    """Put another file of the store there: of the same kind where there is one, else any."""
    store = next(parent for parent in path.parents if (parent / "store.json").is_file())
    same = [each for each in files_of(store)[kind_of(path, store)] if each.read_bytes() != path.read_bytes()]
    other = draw.choice(same or [each for each in store.rglob("*") if each.is_file() and each != path])
    path.write_bytes(other.read_bytes())
    return f"replaced by {other.relative_to(store)}"


def zeros(path: Path, draw: random.Random) -> str:
    """As some file systems leave a file after a crash: of its length, but empty."""
    path.write_bytes(bytes(path.stat().st_size))
    return "filled with zeros"


def wrong_json(path: Path, draw: random.Random) -> str:
    """Well-formed JSON with something wrong in it, and with the right checksum."""
    value = json.loads(path.read_text(encoding="utf-8"))
    was_sealed = isinstance(value, dict) and "sha256" in value
    key = value.pop("key", "") if was_sealed else ""
    value.pop("sha256", None)
    what = _make_wrong(value, draw)
    text = json.dumps(value)
    if was_sealed and isinstance(value, dict):
        path.write_bytes(_sealed(value, key))
    else:
        path.write_text(text)
    return f"well-formed JSON, but {what}"


def _sealed(value: dict[str, Any], key: str) -> bytes:
    """As `issbench.files.sealed`, which refuses what is not JSON: NaN and infinity."""
    body = json.dumps({**value, "key": key}, indent=1).encode().removesuffix(b"\n}")
    return body + b',\n "sha256": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def _make_wrong(value: dict[str, Any], draw: random.Random) -> str:
    """Take a member away, or put something else in its place, anywhere in an object."""
    holder, place, path = value, draw.choice(list(value)), []
    while True:
        path.append(str(place))
        inner = holder[place]  # type: ignore[index]
        if not isinstance(inner, dict | list) or not inner or draw.random() < 0.3:
            break
        holder = inner
        place = draw.choice(list(holder)) if isinstance(holder, dict) else draw.randrange(len(holder))  # type: ignore[assignment]
    if isinstance(holder, dict) and draw.random() < 0.3:
        del holder[place]
        return f"{'.'.join(path)} is missing"
    wrong = draw.choice([each for each in WRONG if type(each) is not type(inner)])
    holder[place] = wrong
    return f"{'.'.join(path)} is {wrong!r}"


DAMAGES: tuple[Callable[[Path, random.Random], str], ...] = (flip, cut, foreign, zeros, wrong_json)


def damage(path: Path, draw: random.Random, how: Callable[[Path, random.Random], str] | None = None) -> str:
    """Damage a file in some way; what was done, in words."""
    ways = [way for way in DAMAGES if way is not wrong_json or path.suffix == ".json"]
    if path.stat().st_size == 0:
        ways = [foreign]
    return (how or draw.choice(ways))(path, draw)
