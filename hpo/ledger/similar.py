"""Which experiments are about the same: a look at those that failed saves trying it again."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo.ledger.record import Record

READ = ("Hypothesis", "Approach")  # besides the title


@dataclass(frozen=True)
class Likeness:
    """How alike a record is: 0 for nothing in common, 1 for the same words and the same space."""

    record: Record
    share: float


def similar(record: Record, records: Sequence[Record]) -> list[Likeness]:
    """The other records that have anything in common with one, the most alike first.

    Words of title, hypothesis and approach count the more, the fewer records have them; where both have searched, the
    names in their spaces count as much as the words.
    """
    others = [other for other in records if other.id != record.id]
    times = Counter(word for each in (record, *others) for word in _words(each))
    weights = {word: math.log((len(others) + 2) / count) for word, count in times.items()}
    likenesses = [Likeness(other, _share(record, other, weights)) for other in others]
    ordered = sorted(likenesses, key=lambda likeness: (-likeness.share, likeness.record.id))
    return [likeness for likeness in ordered if likeness.share > 0]


def _share(first: Record, second: Record, weights: Mapping[str, float]) -> float:
    words = _overlap(_words(first), _words(second), weights)
    spaces = set(first.part("space")), set(second.part("space"))
    if not all(spaces):
        return words
    return (words + _overlap(*spaces, {})) / 2


def _overlap(first: set[str], second: set[str], weights: Mapping[str, float]) -> float:
    """The weight of what both have by that of what either has."""
    either = math.fsum(weights.get(name, 1.0) for name in sorted(first | second))
    both = math.fsum(weights.get(name, 1.0) for name in sorted(first & second))
    return both / either if either else 0.0


def _words(record: Record) -> set[str]:
    text = " ".join((record.label, *(record.section(heading) for heading in READ)))
    return {word.casefold() for word in re.findall(r"[^\W\d_]{4,}", text)}
