"""Seeds of random streams. Each derives from what the stream is for: (study seed, trial number, epoch, ...)."""

from __future__ import annotations

import hashlib

import torch


def derive(*parts: int | str) -> int:
    """Return a 63-bit seed for these parts: the same on every machine, and unrelated for different parts.

    It is a hash and not base + offset, because neighbouring integers can give overlapping streams.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """Return a generator on the CPU, seeded by `derive(*parts)`."""
    return torch.Generator().manual_seed(derive(*parts))
