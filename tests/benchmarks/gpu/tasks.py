"""The studies whose search tier is measured on a card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hpo.study import StudySpec
from studies.lowlight import study as lowlight
from studies.ris import study as ris

SEARCHED: Mapping[str, StudySpec] = {"lowlight": lowlight, "ris": ris}


def searched(name: str, device: str) -> StudySpec:
    """A study as it is searched, with a space in which all trials cost the same; on the CPU its rehearsal."""
    study = SEARCHED[name]
    study = replace(study, space={"recipe.lr": study.space["recipe.lr"]}, pruning=None, startup_trials=10**6)
    return study if device != "cpu" else study.as_smoke()
