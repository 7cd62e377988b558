"""Where runs go beyond this machine: jobs for Slurm through submitit, and the same plan on a workstation."""
