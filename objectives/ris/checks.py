"""The task's own go/no-go conditions, G01 to G20: which of them each stage shows, and why it skips the others."""

from __future__ import annotations

from hpo import Check, Evidence
from objectives.ris import learning_checks, physics_checks, promotion_checks
from objectives.ris.conditions import skip_all
from objectives.ris.probes import Subject, probe_scenes

PREFLIGHT_SKIPS = {
    "G05": "shown by the promotion",
    "G06": "shown by the promotion",
    "G07": "shown by the promotion",
    "G08": "mixed precision is a setting of the recipe, and off in these studies",
    "G14": "shown by the promotion",
    "G15": "shown by the promotion",
    "G16": "the preflight's own check: splits disjoint",
    "G17": "needs scenes that the network was not trained on",
    "G19": "shown by the promotion",
    "G20": "the promotion chooses the settings that inference alone reads",
}
PROMOTION_SKIPS = {
    "G01": "shown by the preflight",
    "G02": "shown by the preflight",
    "G03": "shown by the preflight",
    "G08": "mixed precision is a setting of the recipe, and off in these studies",
    "G09": "shown by the preflight",
    "G10": "shown by the preflight",
    "G11": "shown by the preflight",
    "G12": "shown by the preflight",
    "G16": "the preflight's own check: splits disjoint",
    "G18": "shown by the preflight",
    "G20": "the promotion's own checks: re-scored",
}


def preflight(subject: Subject, evidence: Evidence) -> list[Check]:
    """What can be shown before a search: the physics, and the overfit run."""
    probe = probe_scenes(subject.scenario)
    return [
        physics_checks.check_assertions(subject.pipeline),
        learning_checks.check_overfit(evidence),
        learning_checks.check_overfit_score(subject, evidence),
        learning_checks.check_overfit_curve(evidence),
        learning_checks.check_finite(evidence),
        *physics_checks.check_covariances(subject, probe),
        learning_checks.check_gradient_norm(evidence),
        learning_checks.check_terms_live(subject, probe),
        physics_checks.check_ceiling(subject.pipeline, probe),
        physics_checks.check_ceiling_limits(subject),
        physics_checks.check_countable(subject.pipeline, subject.scenario),
        physics_checks.check_floors(subject.pipeline, probe),
        *skip_all(PREFLIGHT_SKIPS),
    ]


def promotion(evidence: Evidence) -> list[Check]:
    """What the sweep and the winner show."""
    return [
        promotion_checks.check_objective_moves(evidence),
        promotion_checks.check_search_gains(evidence),
        promotion_checks.check_trials(evidence),
        learning_checks.check_finite(evidence),
        promotion_checks.check_winner_limits(evidence),
        promotion_checks.check_counting(evidence),
        promotion_checks.check_not_constant(evidence),
        promotion_checks.check_covariance(evidence),
        promotion_checks.check_winner(evidence),
        *skip_all(PROMOTION_SKIPS),
    ]
