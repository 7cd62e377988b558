"""A real Slurm with two nodes inside one machine, for tests: `python -m slurm.testing start`."""

from slurm.testing.cluster import ClusterError, is_test_cluster, start, stop, temporary_cluster

__all__ = ["ClusterError", "is_test_cluster", "start", "stop", "temporary_cluster"]
