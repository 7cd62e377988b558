"""What differs between methods: a file each, and a file in `parts/` for each part to put on top of a method.

They are written on the interface `method.py` and the mathematics `functional.py` (by subject in `equations/`). What
several of them share is in `shared/`; how they are found, combined and given their options in `interface/`.
"""
