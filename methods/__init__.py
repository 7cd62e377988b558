"""What differs between methods: one short file each, on the mathematics of `functional.py`."""
