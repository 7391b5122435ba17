"""The tasks, and their tiers for a GPU. Cloak has the encoders that need no extra package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hpo.recipe import Recipe
from hpo.study import StudySpec
from hpo.task import Fidelity, Task
from objectives import cloak, hdr, lowlight, ris, xtrans
from studies.cloak_tinyface import study as cloak_study
from studies.hdr import study as hdr_study
from studies.lowlight import study as lowlight_study
from studies.ris import study as ris_study
from studies.ris_seed import study as ris_seed_study
from studies.xtrans import study as xtrans_study


@dataclass(frozen=True)
class Tier:
    """A study's default configuration at the tier that is made for a GPU."""

    study: StudySpec
    fidelity: Fidelity

    def configured(self) -> tuple[Task[Any], Recipe]:
        """The task and recipe of the default configuration."""
        return self.study.configure({}, self.fidelity)


TIERS: Mapping[str, Tier] = {
    "lowlight": Tier(lowlight_study, lowlight.FULL_GPU),
    "ris": Tier(ris_seed_study, ris.FULL_GPU),
    "ris (search)": Tier(ris_seed_study, ris.CHEAP_GPU),
    "xtrans": Tier(xtrans_study, xtrans.FULL_GPU),
    "hdr": Tier(hdr_study, hdr.FULL_GPU),
    "cloak": Tier(cloak_study, cloak.FULL_GPU),
}

SEARCHED: Mapping[str, StudySpec] = {"lowlight": lowlight_study, "ris": ris_study}


def tier(name: str, device: str) -> Tier:
    """The task's tier for a GPU; on the CPU its smoke tier."""
    given = TIERS[name]
    return given if device != "cpu" else replace(given, fidelity=given.study.smoke)


def searched(name: str, device: str) -> StudySpec:
    """A study as it is searched, with a space in which all trials cost the same; on the CPU its rehearsal."""
    study = SEARCHED[name]
    study = replace(study, space={"recipe.lr": study.space["recipe.lr"]}, pruning=None, startup_trials=10**6)
    return study if device != "cpu" else study.as_smoke()
