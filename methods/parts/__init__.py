"""The parts of GSC, which can be put on top of any method: METHOD+PART."""
