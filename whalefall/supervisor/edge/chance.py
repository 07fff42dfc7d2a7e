"""Chance from the kernel. Not `random`: it loads hashlib, and with it OpenSSL, for the sake of a jitter."""

import os

_BYTES = 7  # 56 bits: more than a float's 53


class Chance:
    """The one verb that `core` asks for."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number from `a` to `b`."""
        return a + (b - a) * int.from_bytes(os.urandom(_BYTES)) / (1 << 8 * _BYTES)
