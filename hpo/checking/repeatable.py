"""The checks of preflight that batches come again: from the same rng, and in every process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo.checking.splits import SPLITS, batches
from hpo.checking.wording import status_of, yes_or_no
from hpo.data.batch import example, example_hash, examples_in, same_but_for_padding
from hpo.study import StudySpec
from hpo.task import Check, Split


def check_repeatable(study: StudySpec) -> list[Check]:
    """The same rng gives the same batches, and another rng gives other training batches.

    The validation split depends on neither the rng nor the batch size.
    """

    def examples(split: Split, seed: int, batch_size: int | None = None) -> list[Any]:
        return [
            example(batch, row)
            for batch in batches(study, study.smoke, split, seed, batch_size)
            for row in range(examples_in(batch))
        ]

    def hashes(split: Split, seed: int) -> list[str]:
        return [example_hash([each]) for each in examples(split, seed)]

    repeats = hashes("train", 1) == hashes("train", 1) and hashes("val", 1) == hashes("val", 1)
    epochs_differ = hashes("train", 1) != hashes("train", 2)
    validation_is_fixed = same_but_for_padding(examples("val", 1), examples("val", 2, batch_size=1))
    return [
        Check(
            name="same seed, same batches",
            status=status_of(repeats and epochs_differ and validation_is_fixed),
            seen=f"repeats: {yes_or_no(repeats)}; epochs differ: {yes_or_no(epochs_differ)}; "
            f"validation fixed: {yes_or_no(validation_is_fixed)}",
            allowed="yes; yes; yes",
            look_at="batches(): random numbers that do not come from rng, or a validation split that depends on rng or "
            "batch_size",
        )
    ]


def field_hashes(study: StudySpec) -> dict[str, str]:
    """A hash of each field of each split, at the smoke fidelity: {"train: class_B": "1f0c..."}."""
    hashes: dict[str, list[str]] = {}
    for split in SPLITS:
        for batch in batches(study, study.smoke, split):
            for name, values in zip(batch._fields, batch, strict=True):
                hashes.setdefault(f"{split}: {name}", []).append(example_hash([values]))
    return {name: " ".join(parts) for name, parts in hashes.items()}


def check_processes_agree(study: StudySpec, elsewhere: Mapping[str, str]) -> list[Check]:
    """Another process makes the same batches; `elsewhere` are its `field_hashes`.

    Python orders a set of strings otherwise in every process.
    """
    here = field_hashes(study)
    differing = [name for name in here if here[name] != elsewhere.get(name)]
    return [
        Check(
            name="every process, same batches",
            status=status_of(not differing),
            seen=f"another process makes other batches: {', '.join(differing)}" if differing else "the same",
            allowed="the same",
            look_at="the order of a set() or of a folder's files (sort it), hash(), the time, or random numbers that "
            "do not come from rng",
        )
    ]
