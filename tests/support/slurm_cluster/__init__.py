"""A real Slurm with two nodes inside one machine, for tests: `python tests/support/slurm_cluster start`."""

from slurm_cluster.cluster import ClusterError, is_test_cluster, start, stop, temporary_cluster

__all__ = ["ClusterError", "is_test_cluster", "start", "stop", "temporary_cluster"]
