"""The mathematics by subject. Import it from `methods/functional.py`, which has the notation and the rules."""
