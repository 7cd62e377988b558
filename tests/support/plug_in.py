"""Methods of somebody's own, as an installed package declares them."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from issbench.methods.interface.registry import available

Write = Callable[[str], None]
_NUMBERS = count()


def lay_out(folder: Path, name: str, class_name: str, source: str, module: str = "") -> Path:
    """Write the package `name` with a method of that name: its entry point, and a module, which is returned. Where
    `folder` is on the path of Python, it is installed."""
    module = module or f"{name}_method"
    about = folder / f"{name}-1.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[issbench.methods]\n{name} = {module}:{class_name}\n")
    path = folder / f"{module}.py"
    path.write_text(textwrap.dedent(source))
    return path


@contextmanager
def installed(folder: Path, name: str, class_name: str, source: str) -> Iterator[Write]:
    """The method is known in this process. What is yielded writes its source anew: into another module, because
    this process keeps what it has read of the one before."""

    def write(text: str) -> None:
        lay_out(folder, name, class_name, text, f"{name}_method_{next(_NUMBERS)}")
        available.cache_clear()
        importlib.invalidate_caches()

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        write(source)
        yield write
    available.cache_clear()
