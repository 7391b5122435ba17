"""What to do next, from what the study has shown.

What is missing comes first; then what would decide the verdict, where to search, and whether more trials or a dearer
fidelity would help.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpo.formatting import count, listed, sentence
from hpo.page.commands import suggest_command
from hpo.page.findings import Findings, GateFindings, Promotion, Sweep
from hpo.page.next_space import Decision, Kind, next_space
from hpo.page.saturation import saturation
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.outlook import outlook
from hpo.promotion.results import Verdict
from hpo.study import StudySpec

ENOUGH = 8  # completed trials, from which on a next study can be said
LATE = 0.75  # of the trials have ended before a best one that came late
MOST_NAMED = 4  # hyperparameters in a sentence


@dataclass(frozen=True)
class Step:
    """Something to do, and the command that does it; "" where there is none."""

    text: str
    command: str = ""


def steps(findings: Findings) -> tuple[Step, ...]:
    """What to do next, the most urgent first."""
    missing = tuple(Step(stage.sentence, stage.command) for stage in findings.missing)
    if findings.study.is_rehearsal:
        return missing or (Step("This was a rehearsal. The study itself:", _without_smoke(_command("run", findings))),)
    sweep, promotion = findings.sweep, findings.promotion
    verdict = promotion.verdict if promotion else None
    lines = [*missing]
    if promotion and verdict:
        lines += _about_verdict(promotion, verdict, findings)
    is_over = sweep is not None and (sweep.ended >= sweep.planned or bool(sweep.end))
    if sweep and is_over and sweep.best and not sweep.origin:
        lines += _about_search(sweep, findings)
    return tuple(lines)


def _command(verb: str, findings: Findings) -> str:
    return suggest_command(verb, findings.study, findings.provenance.commands)


def _without_smoke(command: str) -> str:
    return shlex.join(word for word in shlex.split(command) if word != "--smoke")


def _about_verdict(promotion: Promotion, verdict: Verdict, findings: Findings) -> Iterator[Step]:
    """What would decide it, and what to do with what was found."""
    if verdict.no_go:
        yield Step(f"See which task checks are not passed, and why: {listed(verdict.no_go)}.")
    if verdict.winner != DEFAULT:
        folder = findings.provenance.winner
        yield Step(f"Use {verdict.winner}. In Python:", f"task, model = hpo.load_winner(Path({str(folder)!r}))")
    advice = outlook(verdict)
    if advice is not None:
        yield Step(advice.text, " ".join([promotion.command, *advice.options]) if advice.options else "")


# -- the search ------------------------------------------------------------------------------------------------------
def _about_search(sweep: Sweep, findings: Findings) -> Iterator[Step]:
    saturated, completed = saturation(findings.study, sweep), len(sweep.ranked)
    if saturated:
        yield Step(saturated)
    if completed < ENOUGH:
        command = f"{_command('sweep', findings)} --trials {sweep.ended + ENOUGH - completed}"
        yield Step(f"{count(completed, 'completed trial')} cannot say where to search next; {ENOUGH} may:", command)
        return
    yield from _space(findings.study, sweep, _command("next", findings))
    if not saturated:
        yield _budget(sweep, findings.gate, _command("sweep", findings))


def _space(study: StudySpec, sweep: Sweep, command: str) -> Iterator[Step]:
    """Which ranges end at their edge, and which hyperparameters do nothing: what `hpo next` would change."""
    decisions = next_space(study, sweep).decisions
    widened, narrowed, idle = (_names(decisions, kind) for kind in ("widened", "narrowed", "idle"))
    words = []
    if widened:
        words.append(f"search wider in {_listed(widened)}, where the best trials lie at the edge of the range")
    if narrowed:
        words.append(f"search closer in {_listed(narrowed)}, around the best")
    if idle:
        words.append(f"fix {_listed(idle)}, on which nothing depends")
    if words:
        yield Step(sentence(f"{'; '.join(words)}:"), command)
    unclear = [finding.names[0] for finding in sweep.separation.rest if finding.names[0] not in idle]
    if unclear and not sweep.separation.is_flat:
        yield Step(f"The trials do not tell {_listed(unclear)} from chance: leave out what you do not care about.")


def _names(decisions: Sequence[Decision], kind: Kind) -> list[str]:
    return [decision.name for decision in decisions if decision.kind == kind]


def _listed(names: Sequence[str]) -> str:
    """The names, of which no more than a few are written out."""
    if len(names) <= MOST_NAMED:
        return listed(names)
    return listed([*names[: MOST_NAMED - 1], count(len(names) - MOST_NAMED + 1, "other")])


def _budget(sweep: Sweep, known: GateFindings | None, command: str) -> Step:
    """Whether more trials or a dearer fidelity would help."""
    if known and known.gate and known.gate.decision == "refuse":
        return Step("A dearer cheap fidelity before more trials: the present one does not rank like the full one.")
    assert sweep.best is not None
    number, ended = sweep.best.number, sweep.ended
    if number + 1 > LATE * ended:
        text = f"More trials may find more: the best came late, as trial {number} of {ended}:"
        return Step(text, f"{command} --trials {2 * ended}")
    since = "the default is still the best" if sweep.best.is_default else f"the best is still trial {number}"
    if sweep.separation.is_flat:
        return Step(
            f"More trials alone would hardly help: {since} of {ended}, and no hyperparameter is told from chance."
        )
    if known and known.gate is None:
        asked = "rather than more trials, test whether the cheap fidelity ranks like the full one:"
        return Step(f"{sentence(since)} of {ended}: {asked}", known.command)
    return Step(f"More trials alone would hardly help: {since} of {ended}. Search another space.")
