"""The partner of each file of a user's pairs, and the scene that it shows, by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Literal

Pairing = Literal["strict", "flexible"]
Key = Callable[[Path], Hashable | None]  # equal for partners; None for a file without one

LOW_ENDINGS = ("_lowlight", "_low", "_dark", "_input", "_noisy")
HIGH_ENDINGS = ("_high", "_normal", "_gt", "_clean", "_target")
_INTEGER = re.compile(r"\d+")
_TAKE = re.compile(r"(.*\d.*)[_-]\d+")  # 0012_3 is take 3 of scene 0012; IMG_0012 is a scene of its own


def match(low: Iterable[Path], high: Iterable[Path], pairing: Pairing) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Pairs, and the files of either side that have no partner. Paths are relative to their side, and subfolders agree.

    strict: the same name without its suffix, in upper or lower case. flexible: also the name without an ending such as
    _low and without one such as _gt; or else the same whole number in the name: 1 is not 10. The first of these that
    fits decides. A name that fits several files of a side fits none of them, so no file has two partners.
    """
    low, high = list(low), list(high)
    keys: list[tuple[Key, Key]] = [(_name, _name), (_stem, _stem)]
    if pairing == "flexible":
        keys += [(_without(LOW_ENDINGS), _without(HIGH_ENDINGS)), (_number, _number)]
    partner_of: dict[Path, Path] = {}
    for low_key, high_key in keys:
        low_by_key, high_by_key = _unique(low, low_key), _unique(high, high_key)
        taken = set(partner_of.values())
        for key, path in low_by_key.items():
            partner = high_by_key.get(key)
            if path not in partner_of and partner is not None and partner not in taken:
                partner_of[path] = partner
    matched = [(path, partner_of[path]) for path in low if path in partner_of]
    partners = set(partner_of.values())
    unmatched = [path for path in low if path not in partner_of] + [path for path in high if path not in partners]
    return matched, unmatched


def scene_of(path: Path) -> str:
    """The scene of a bright file, by its name: takes of one scene, such as 0012_1 and 0012_2, share it."""
    stem = path.stem.lower()
    for ending in HIGH_ENDINGS:
        stem = stem.removesuffix(ending)
    take = _TAKE.fullmatch(stem)
    return take.group(1) if take else stem


def _name(path: Path) -> Hashable:
    return path


def _stem(path: Path) -> Hashable:
    return str(path.with_suffix("")).casefold()


def _without(endings: tuple[str, ...]) -> Key:
    """The name without the one of these endings that it has."""

    def key(path: Path) -> Hashable:
        stem = str(path.with_suffix("")).casefold()
        ending = next((ending for ending in endings if stem.endswith(ending)), "")
        return stem.removesuffix(ending)

    return key


def _number(path: Path) -> Hashable | None:
    """The whole number in a name; None if it has none, or several."""
    numbers = _INTEGER.findall(path.stem)
    return (str(path.parent).casefold(), int(numbers[0])) if len(numbers) == 1 else None


def _unique(paths: Iterable[Path], key: Key) -> Mapping[Hashable, Path]:
    """Key -> path, for the keys of exactly one path; None is no key."""
    paths_by_key: dict[Hashable, list[Path]] = {}
    for path in paths:
        paths_by_key.setdefault(key(path), []).append(path)
    return {key: paths[0] for key, paths in paths_by_key.items() if key is not None and len(paths) == 1}
