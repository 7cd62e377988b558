"""Code in an interpreter of its own, which has imported nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import issbench

ROOT = Path(issbench.__file__).parent


def python(code: str, *paths: Path) -> str:
    """What a fresh interpreter prints, with `paths` among its packages."""
    search = [*map(str, paths), str(ROOT.parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(search)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
