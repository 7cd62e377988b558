"""Options as commands take them: each has one value, which is not empty."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from issbench.errors import UsageError


class Command(TyperCommand):
    """A command that refuses an option given twice, of which click would use the last in silence, and an empty
    text, which a script gives whose variable is not set (`--out ""` would be the working directory)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What click makes of the command line. UsageError where it is ambiguous."""
        values, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.params:
            name = max(parameter.opts, key=len)
            once = getattr(parameter, "nargs", 1) == 1 and not getattr(parameter, "multiple", False)
            if once and not getattr(parameter, "is_flag", False) and given.count(parameter) > 1:
                raise UsageError(f"{name} is given {given.count(parameter)} times; give it once")
            found = values.get(str(parameter.name))
            for value in found if isinstance(found, list | tuple) else [found]:
                if isinstance(value, str) and not value.strip():
                    raise UsageError(f"{name} is empty; give a value, or leave it out")
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """A set of commands, all of which take their options so."""

    def command(self, *names: Any, **options: Any) -> Any:
        """Register a command, as typer does."""
        return super().command(*names, **({"cls": Command} | options))
