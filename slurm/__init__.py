"""How runs are carried out beyond this process: launchers, the jobs that they start, what becomes of those."""
