"""Combinations: `rcil+gsc` is RCIL with the parts of GSC on top.

A part is a class of hooks that call `super()`. `METHOD+part+part` is the class that inherits from these parts and
from the method, in this order, with the options of all of them; so each part sees first what the engine asks,
and the method below it answers the rest. A method that is itself made of parts, as GSC is of PLOP with `pr`, `sg`,
`sr` and `sc`, lends them together: `METHOD+gsc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import make_dataclass, replace
from typing import TYPE_CHECKING, Any

from issbench.errors import UsageError
from issbench.methods.interface.info import FACTS, MethodInfo

if TYPE_CHECKING:
    from issbench.methods.method import Method, Part


class CompositionError(UsageError):
    """A combination that has no meaning."""


def split(name: str) -> list[str]:
    """[`rcil`, `gsc`] from `rcil+gsc`; what is added in alphabetic order, which changes nothing."""
    base, *added = name.split("+")
    return [base, *sorted(added)]


def parts_of(base: MethodInfo, added: Sequence[MethodInfo], known: Mapping[str, MethodInfo]) -> list[MethodInfo]:
    """The parts that `added` puts on top of `base`; raises CompositionError with the reason where it cannot be."""
    # In the order of the methods that are made of them, so that plop+gsc adds up its terms as gsc does.
    listed = [name for info in known.values() for name in info.parts] + list(known)
    loose = [name for name in dict.fromkeys(listed) if name in known and known[name].part]
    if base.part:
        raise CompositionError(
            f"{base.name} is a part, not a method; write METHOD+{base.name}, as in ft+{base.name}"
        )
    if base.not_composable_because and added:
        raise CompositionError(f"nothing can be put on top of {base.name}: {base.not_composable_because}")
    found: list[str] = []
    for info in added:
        parts = [info.name] if info.part else list(info.parts)
        if not parts:
            lend = [name for name, other in known.items() if other.parts]
            raise CompositionError(
                f"{base.name}+{info.name}: {info.name} is a whole method with a loss of its own; what can be put "
                f"on top of a method is {', '.join(loose)}, or {', '.join(lend)} for all of its parts"
            )
        for part in parts:
            if part in base.parts:
                raise CompositionError(
                    f"{base.name}+{info.name}: {base.name} has {part} already; switch it with "
                    f"{base.name}:{part}=on or off"
                )
            if part not in loose:
                raise CompositionError(
                    f"{base.name}+{info.name}: {info.name} is made of the part {part}, which its package does not "
                    "declare under the entry-point group issbench.methods"
                )
            if part in found:
                raise CompositionError(f"{base.name}+{info.name}: {part} is there twice")
            found.append(part)
    return [known[name] for name in loose if name in found]


def combined_info(base: MethodInfo, added: Sequence[MethodInfo], parts: Sequence[MethodInfo]) -> MethodInfo:
    """The declaration of the combination `base+added`, which puts `parts` on top of `base`."""
    keys = dict.fromkeys(info.cite for info in (base, *added) if info.cite)
    return replace(
        base,
        name="+".join(info.name for info in (base, *added)),
        title="+".join(info.title for info in (base, *added)),
        summary=f"{base.title} with {', '.join(info.name for info in parts)} on top.",
        options=tuple({option.name: option for info in (base, *parts) for option in info.options}.values()),
        parts=(*(info.name for info in parts), *base.parts),
        published=_published((base, *parts)),
        table_order=None,
        colour="",
        marker="",
        dashes="",
        cite=",".join(keys),
    )


def _published(infos: Sequence[MethodInfo]) -> dict[str, dict[str, Any]] | None:
    """The published settings of all, by dataset; None if one of them cannot be read."""
    together: dict[str, dict[str, Any]] = {}
    for info in infos:
        if info.published is None:
            return None
        for dataset, settings in info.published.items():
            together.setdefault(dataset, {}).update(settings)
    return together


def combine(info: MethodInfo, base: type[Method], parts: Sequence[type[Part]]) -> type[Method]:
    """The class of a combination."""
    bases = dict.fromkeys((*(part.Options for part in reversed(parts)), base.Options))  # several may have NoOptions
    options = make_dataclass("CombinedOptions", [], bases=tuple(bases), frozen=True, kw_only=True)
    attributes = {
        "__doc__": f"{info.title}.",
        "__module__": base.__module__,
        "name": info.name,
        "Options": options,
        "uses_teacher": base.uses_teacher or any(part.needs_teacher for part in parts),
        **{fact: getattr(info, fact) for fact in FACTS},
    }
    return type("Combination", (*parts, base), attributes)
