"""Runs beyond this process: the interface of launchers, submissions, and what became of them."""
