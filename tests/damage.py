"""Files as they come out of bad transfers and disks."""

from __future__ import annotations

import random
from collections.abc import Iterator


def damaged(whole: bytes, chosen: random.Random, rounds: int) -> Iterator[bytes]:
    """Four damaged forms of a content a round: cut, changed, without a part, with bytes put in."""
    for _ in range(rounds):
        yield whole[: chosen.randrange(len(whole))]
        changed = bytearray(whole)
        for _ in range(chosen.choice([1, 3, 30])):
            changed[chosen.randrange(len(changed))] = chosen.randrange(256)
        yield bytes(changed)
        first, second = sorted(chosen.randrange(len(whole)) for _ in range(2))
        yield whole[:first] + whole[second:]
        yield whole[:first] + chosen.randbytes(chosen.randrange(40)) + whole[first:]
