"""What separates, in sentences."""

from __future__ import annotations

from hpo.formatting import count, listed, number
from hpo.separation.stepwise import Finding, Separation


def flat_sentence(separation: Separation) -> str:
    """What stands beside a best trial where nothing separates; empty elsewhere."""
    if not separation.is_flat:
        return ""
    trials = count(separation.trials, "trial")
    if separation.scored_alike:
        return f"In the sweep nothing separates: all {trials} scored alike."
    return (
        f"In the sweep nothing separates: its {trials} do not tell the hyperparameters apart, so the best of "
        f"them may be the best by chance."
    )


def lead(separation: Separation) -> str:
    """What the trials tell from chance, and what they do not."""
    trials = count(separation.trials, "trial")
    if separation.scored_alike:
        return f"Nothing separates: all {trials} scored alike."
    if not separation.named and not separation.rest:
        return f"{trials} are too few to tell any hyperparameter from chance."
    if separation.named:
        return " ".join([*_named_sentences(separation), _rest_sentence(separation, trials)]).rstrip()
    first = separation.rest[0]
    return (
        f"Nothing separates: these {trials} do not tell the hyperparameters apart. The clearest, {first.names[0]}, has "
        f"p = {number(first.p, 2)}; by chance alone the clearest one is below {number(first.line, 2)} in one study "
        f"of 25."
    )


def limit_sentence(separation: Separation) -> str:
    """What no measure can say with so many trials; empty where all separate or nothing was tested."""
    if not separation.rest:
        return ""
    least = min(finding.needed for finding in separation.rest)
    another = "another hyperparameter" if separation.named else "a hyperparameter"
    return (
        f"With {count(separation.trials, 'trial')} no measure can tell {another} from chance that explains less than "
        f"about {least:.0%} of the spread of the scores."
    )


def name_of(finding: Finding) -> str:
    """A hyperparameter, or the two of a pair."""
    return " × ".join(finding.names)


def _named_sentences(separation: Separation) -> list[str]:
    first, *others = separation.named
    verb = "separates" if len(first.names) == 1 else "separate, as a pair"
    sentences = [
        f"{listed(first.names)} {verb}: {first.explained:.0%} of the spread of the scores (adjusted R²; p = "
        f"{number(first.p, 2)}, the line of chance is {number(first.line, 2)})."
    ]
    if others:
        more = [
            f"{name_of(finding)} ({finding.explained:.0%} more; p = {number(finding.p, 2)}, line "
            f"{number(finding.line, 2)})"
            for finding in others
        ]
        sentences.append(f"{listed(more)} {'separates' if len(others) == 1 else 'separate'} beside that.")
    return sentences


def _rest_sentence(separation: Separation, trials: str) -> str:
    names = [finding.names[0] for finding in separation.rest]
    if not names:
        return ""
    if len(names) <= 3:
        return f"These {trials} do not tell {listed(names)} from chance."
    return f"These {trials} do not tell the other {len(names)} from chance."
