"""`python tests/support/slurm_cluster start|stop`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a folder, it is on no path

from slurm_cluster.cluster import ClusterError, start, stop


def main() -> int:
    """Start a cluster and print what a shell must set to use it, or stop one."""
    parser = argparse.ArgumentParser(
        prog="python tests/support/slurm_cluster",
        description="A Slurm cluster with two nodes inside this machine, for tests. Needs root.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser(
        "start", help='start one; use it with: eval "$(python tests/support/slurm_cluster start)"'
    )
    starting.add_argument("--dir", type=Path, help="where everything of it lies; a fresh temporary one by default")
    stopping = commands.add_parser("stop", help="end it with all its jobs, and remove its directory")
    stopping.add_argument("--dir", type=Path, help="its directory; by default that of $SLURM_CONF")
    arguments = parser.parse_args()
    try:
        if arguments.command == "start":
            print(f"export SLURM_CONF={shlex.quote(str(start(arguments.dir)))}")
        else:
            stop(_conf(arguments.dir))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _conf(directory: Path | None) -> Path:
    if directory is not None:
        return directory / "slurm.conf"
    if "SLURM_CONF" not in os.environ:
        raise ClusterError("which cluster? SLURM_CONF is not set; pass --dir DIR")
    return Path(os.environ["SLURM_CONF"])


if __name__ == "__main__":
    sys.exit(main())
