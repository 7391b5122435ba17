"""A configuration that was drawn in one space, in the names of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hpo.space import When, contains, distribution_of
from hpo.study import StudySpec


def misfit(study: StudySpec, params: Mapping[str, Any]) -> str:
    """Why a configuration does not lie in the study's space, its own values aside that the space does not search and
    that are the defaults; empty where it does."""
    standard = _defaults(study)
    fitted = fit_params(study, params)
    for name, value in fitted.items():
        if not contains(distribution_of(study.space[name]), value):
            return f"{name} = {value!r}"
    for name, value in params.items():
        if name not in fitted and (name not in standard or standard[name] != value):
            return f"{name} = {value!r}, which is not the default"
    return ""


def fit_params(study: StudySpec, params: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration in the names of the study's space: what it did not search is at its default."""
    fitted: dict[str, Any] = {}
    standard = _defaults(study)
    for name, entry in study.space.items():
        if not isinstance(entry, When) or (entry.parent in fitted and fitted[entry.parent] == entry.value):
            fitted[name] = params.get(name, standard[name])
    return fitted


def _defaults(study: StudySpec) -> dict[str, Any]:
    return {
        f"{owner}.{name}": getattr(value, name)
        for owner, value in study.owners.items()
        for name in [field.name for field in fields(value)]
    }
