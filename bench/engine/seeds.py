"""Seeds derived by name, so that changing one random thing does not shift all others."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *names: object) -> int:
    """A 63-bit seed for what `names` name, e.g. derive_seed(0, "data order", step, epoch)."""
    text = "\0".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
