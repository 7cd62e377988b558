"""The mathematics by subject. Methods use it as `methods.functional`, which tells the notation and the rules."""
