"""Whether the cheap setting ranks like the full one: a sentence and a figure, or that it was not tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hpo.formatting import count, duration, interval, sentence
from hpo.page.draw_agreement import agreement_figure
from hpo.page.drawing import Drawing, plot
from hpo.page.findings import FidelityPair, Findings, GateFindings
from hpo.page.views import Badge, Key, Plot, Section
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.gate import CONFIDENCE_PERCENT, FIRST, MOST, Gate
from hpo.promotion.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class GateSection(Section):
    """The fidelity gate."""

    name: ClassVar[str] = "gate"
    title: ClassVar[str] = "Cheap and full fidelity"
    template: ClassVar[str] = "report/gate.html.j2"
    remarks: tuple[str, ...] = ()
    command: str = ""  # that tests it, where it was not tested
    agreement: Plot | None = None


def gate_section(findings: Findings) -> GateSection | None:
    """None where there is nothing to test."""
    known = findings.gate
    if known is None:
        return None
    if known.gate is None:
        return GateSection(badge=Badge("open", "not tested"), lead=_not_tested(known), command=known.command)
    passed = known.gate.decision == "pass"
    drawing = gate_drawing(known.gate, findings.study.task.goal)
    return GateSection(
        badge=Badge("go" if passed else "no-go", "passed" if passed else "refused"),
        lead=sentence(f"{known.gate.sentence}."),
        remarks=tuple(_remarks(known.gate, known.spread)),
        agreement=plot(drawing) if drawing else None,
    )


def refusal(known: GateFindings | None) -> tuple[str, ...]:
    """What stands at the top of the page after a gate that refused; nothing otherwise."""
    if known is None or known.gate is None or known.gate.decision == "pass":
        return ()
    forced = " The study went on all the same." if known.gate.forced else ""
    return (f"{sentence(known.gate.sentence)}. {sentence(known.gate.remedy)}.{forced}",)


def gate_price(known: GateFindings) -> str:
    """How long the gate's full runs would train, at least and at most; empty where no run has shown that."""
    if known.run_seconds is None:
        return ""
    return f"{duration(FIRST * known.run_seconds)} to {duration(MOST * known.run_seconds)}"


def _not_tested(known: GateFindings) -> str:
    price = f", {gate_price(known)} of training" if gate_price(known) else ""
    return (
        f"The cheap setting was not tested: whether it ranks like the full one is not known. {FIRST} to {MOST} random "
        f"configurations, trained once at full fidelity, would tell{price}:"
    )


def _remarks(gate: Gate, spread: Interval | None) -> list[str]:
    remarks = [
        f"The interval is of {CONFIDENCE_PERCENT} %. With such a correlation a promotion should begin with "
        f"{count(gate.keep, 'configuration')} beside the default. The gate's trials are the first of the sweep, and "
        f"its runs those of the promotion on the first seed."
    ]
    if spread is not None:
        shown = f"The variance of the full values is {interval(spread)} times that of one configuration's seeds"
        doubt = ": as evidence, and no proof, nothing separates these configurations" if spread.low <= 1 else ""
        remarks.append(f"{shown}{doubt}.")
    return remarks


def gate_drawing(gate: Gate, goal: str) -> Drawing | None:
    """Cheap value against full value of each configuration. None where fewer than two have both."""
    pairs = [FidelityPair(pair.name, pair.cheap, pair.full) for pair in gate.pairs if pair.full is not None]
    if len(pairs) < 2:
        return None
    keys = (Key("complete", "dot", "a random configuration"), Key("default", "diamond", "the default"))
    point = f"{sentence(gate.evidence)}, trained once at each fidelity."
    figure = agreement_figure(pairs, [], goal, named=(DEFAULT,))
    title = "Random configurations at both fidelities"
    return Drawing("gate", title, point, figure, keys)
