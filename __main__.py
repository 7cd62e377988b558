"""`python -m issbench` is the command `bench`."""

import sys


def main() -> None:
    """Run the command. It is imported here, so that Ctrl-C while that lasts ends it without a traceback."""
    try:
        from issbench.bench.commands.app import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    command()


if __name__ == "__main__":
    main()
