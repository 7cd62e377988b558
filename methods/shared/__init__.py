"""What several methods share: statistics of a step's data, branches, importances, sums over processes."""
