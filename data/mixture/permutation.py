"""Seeded permutations of any size in no memory: where a number goes is computed, not looked up.

A generalised Feistel network (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002, section 5): a number is a pair in
Z_a x Z_b with a * b just above the size; rounds add a hash of one half to the other, which can be undone, so that the network is a
permutation of the pairs; a pair outside the size is sent through again until it lies inside. All of it is whole-number
arithmetic of our own: the order of a run is the same on every machine and under every version of numpy.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np

ROUNDS = 8
LEAST = 4  # with fewer numbers in a half there are too few networks for all orders to be as likely


def permute(numbers: np.ndarray, sizes: np.ndarray | int, keys: np.ndarray) -> np.ndarray:
    """Return where each number goes, each in a permutation of its own or all in one.

    Args:
        numbers: (n,) whole numbers, each in [0, its size).
        sizes: (n,) or one: how many numbers a permutation is of, 1 to 2**50.
        keys: (n, ROUNDS) or (ROUNDS,) uint64: round_keys of a permutation's name.
    Returns:
        (n,) int64 in [0, size), different for different numbers of one permutation.
    """
    size = np.broadcast_to(np.asarray(sizes, np.uint64), numbers.shape)
    keys = np.broadcast_to(keys, (len(numbers), ROUNDS))
    left_size = np.maximum(np.ceil(np.sqrt(size.astype(np.float64))), LEAST).astype(np.uint64)
    right_size = np.maximum((size + left_size - np.uint64(1)) // left_size, np.uint64(LEAST))
    out = numbers.astype(np.uint64)
    outside = np.flatnonzero(size > 1)
    while len(outside):
        out[outside] = _network(out[outside], left_size[outside], right_size[outside], keys[outside])
        outside = outside[out[outside] >= size[outside]]
    return out.astype(np.int64)


@lru_cache(maxsize=65_536)
def round_keys(name: str) -> np.ndarray:
    """Return the (ROUNDS,) uint64 keys that a permutation's name stands for; another name is another permutation."""
    return np.frombuffer(blake2b(name.encode(), digest_size=8 * ROUNDS).digest(), "<u8")


def _network(numbers: np.ndarray, left_size: np.ndarray, right_size: np.ndarray, keys: np.ndarray) -> np.ndarray:
    left, right = np.divmod(numbers, right_size)
    for number in range(0, ROUNDS, 2):
        left = (left + _mixed(right, keys[:, number]) % left_size) % left_size
        right = (right + _mixed(left, keys[:, number + 1]) % right_size) % right_size
    return left * right_size + right


def _mixed(values: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Hash each number with its key.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    mixed = values + keys  # modulo 2**64, as all of this is meant
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
