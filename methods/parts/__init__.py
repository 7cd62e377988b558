"""The parts, which can be put on top of any method: METHOD+PART. GSC is PLOP with four of them."""
