"""Where runs go beyond this machine. Empty until dispatch to a cluster is built."""
