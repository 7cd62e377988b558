"""`python -m issbench` is the command `bench`."""

from issbench.bench.commands.app import main

main()
