"""The launchers of the suite, Slurm and this machine, and the jobs that they start."""
