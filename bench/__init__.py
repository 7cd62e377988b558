"""The program: what an experiment is, the engine that carries it out, and the command line."""
