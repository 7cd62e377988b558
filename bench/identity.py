"""What goes into a hash: only what decides a result, and of settings only what differs from the published
default."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def hash_of(value: Any, digits: int = 24) -> str:
    """A hash in hex digits of plain values, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=digits // 2).hexdigest()


def what_differs(settings: DataclassInstance) -> dict[str, Any]:
    """The fields that differ from their defaults, and those without one. So a new field with a neutral default
    changes no hash; the defaults themselves are published settings, which `tests/bench/test_identity.py` keeps as
    they are."""
    return {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != _default(field)
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
