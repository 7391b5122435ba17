"""From what the verbs have left in a study's folder to findings. Reads only, and at any stage.

The storage is the index of the trials; verdict, preflight, pictures and commands lie in files beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hpo.contract.optuna_objects import described
from hpo.contract.pruning import Median
from hpo.errors import Refused
from hpo.formatting import count
from hpo.page.collect_gate import gate_findings
from hpo.page.collect_promotion import collect_earlier, collect_promotion
from hpo.page.collect_sweep import collect_sweep
from hpo.page.commands import suggest_command
from hpo.page.decoding import decode_commands, decode_preflight
from hpo.page.findings import (
    Exhibit,
    Findings,
    LoggedCommand,
    Missing,
    Panel,
    PreflightFindings,
    Promotion,
    Provenance,
    Sweep,
)
from hpo.page.headline import headline
from hpo.page.status import status_of
from hpo.plain import plain
from hpo.space import When
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder, promotion_name
from hpo.storage.identity import differing_parts
from hpo.study import StudySpec
from hpo.trial import provenance
from hpo.trial.adoption import read_adoption
from hpo.trial.artifact import CARD
from hpo.trial.changes import lineage
from hpo.trial.failures import Failure, grouped


def collect(study: StudySpec, folder: RunFolder) -> Findings:
    """Read everything that a study's folder holds.

    Raises Refused where there is no such folder, and Damaged where a record in it cannot be read.
    """
    if not folder.path.is_dir():
        raise Refused(f"nothing to report: {folder.path} does not exist; run: hpo sweep {study.name}")
    stored_sweep = stored_study(folder, study.name)
    identity = stored_sweep.user_attrs.get("identity", {}) if stored_sweep else {}
    commands = decode_commands(folder)
    adoption = read_adoption(folder)
    sweep = collect_sweep(study, stored_sweep, adoption) if stored_sweep else None
    if sweep is not None:
        failed = [Failure(trial.number, trial.reason) for trial in sweep.trials if trial.state == "failed"]
        sweep = replace(sweep, failures=grouped(failed, folder))
    stored_promotion = stored_study(folder, promotion_name(study.name))
    promotion = collect_promotion(study, folder, stored_promotion, sweep, commands)
    gate = None
    if sweep and not adoption:
        gate = gate_findings(study, folder, stored_promotion, promotion, suggest_command("gate", study, commands))
    return Findings(
        study=study,
        written=datetime.now(UTC),
        headline=headline(study, sweep, promotion),
        sweep=sweep,
        promotion=promotion,
        preflight=_preflight(folder, identity),
        exhibits=_exhibits(folder, promotion),
        provenance=_provenance(study, folder, identity, commands, promotion),
        missing=tuple(_missing(study, folder, sweep, promotion, commands)),
        gate=gate,
        earlier=collect_earlier(folder),
    )


# -- what is missing -------------------------------------------------------------------------------------------------
def _missing(
    study: StudySpec,
    folder: RunFolder,
    sweep: Sweep | None,
    promotion: Promotion | None,
    commands: Sequence[LoggedCommand],
) -> list[Missing]:
    missing = []

    def add(sentence: str, verb: str) -> None:
        missing.append(Missing(sentence, suggest_command(verb, study, commands)))

    trials = len(folder.numbers("sweep"))
    if sweep is None and trials:
        add(f"The storage is missing, but {count(trials, 'trial')} lie in {folder.path / 'sweep'}.", "rebuild")
    if not folder.preflight.exists():
        add("No preflight: nothing has proved that the task can be learned.", "preflight")
    if sweep is None:
        add("No sweep.", "sweep")
    elif sweep.ended < sweep.planned and not sweep.end:
        add(f"The sweep has {sweep.ended} of {sweep.planned} trials{_left(folder)}.", "sweep")
    if promotion is None:
        add("No promotion: what a cheap score is worth at full fidelity is not known.", "promote")
    elif promotion.verdict is None:
        runs = f"{len(promotion.runs)} of {promotion.planned} runs"
        add(f"The promotion has {runs}, and no verdict{_left(folder)}.", "promote")
    return missing


def _left(folder: RunFolder) -> str:
    """The time left, as a clause; "" where it is not known."""
    left = status_of(folder).time_left
    return f"; the rest takes {left}" if left else ""


# -- the rest of the folder ------------------------------------------------------------------------------------------
def _preflight(folder: RunFolder, identity: Mapping[str, str]) -> PreflightFindings | None:
    preflight = decode_preflight(folder)
    if preflight is None:
        return None
    before = preflight.identity or {}
    stale = differing_parts({part: before.get(part, "") for part in identity}, identity)
    return replace(preflight, stale=tuple(stale))


def _exhibits(folder: RunFolder, promotion: Promotion | None) -> tuple[Exhibit, ...]:
    index = folder.pictures / "index.json"
    is_of_earlier_winner = promotion is not None and promotion.verdict is None
    if not index.exists() or is_of_earlier_winner:
        return ()
    return tuple(_exhibit(folder, entry) for entry in json.loads(index.read_text()))


def _exhibit(folder: RunFolder, entry: Mapping[str, Any]) -> Exhibit:
    files = [(panel["label"], folder.pictures / panel["file"]) for panel in entry.get("panels", ())]
    panels = tuple(Panel(label, path.read_bytes()) for label, path in files if path.exists())
    return Exhibit(entry["title"], entry.get("caption", ""), panels, entry.get("figure"))


def _provenance(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    commands: tuple[LoggedCommand, ...],
    promotion: Promotion | None,
) -> Provenance:
    card_path = folder.export / CARD
    has_verdict = promotion is not None and promotion.verdict is not None
    card = json.loads(card_path.read_text()) if has_verdict and card_path.exists() else {}
    if card.get("versions"):
        versions, versions_of = card["versions"], "when the winner was exported"
    elif commands and commands[-1].versions:
        versions, versions_of = commands[-1].versions, "of the last command"
    else:
        versions, versions_of = provenance.versions(), "when this report was written"
    return Provenance(
        identity=identity,
        versions=versions,
        versions_of=versions_of,
        commands=commands,
        card=card,
        winner=folder.export,
        search=_search(study),
        pruning=_pruning(study),
        changes=lineage(folder),
        conditions={
            name: f"where {entry.parent} = {entry.value}"
            for name, entry in study.space.items()
            if isinstance(entry, When)
        },
    )


def _search(study: StudySpec) -> str:
    """What proposes the configurations, in one line."""
    if study.is_ladder:
        return "a Sobol sequence, and TPE for full-length trials where early rankings mislead"
    if study.search is None:
        return f"TPE, {count(study.startup_trials, 'random trial')} first"
    return described(study.search)


def _pruning(study: StudySpec) -> str:
    """The pruner's settings in one line."""
    if study.pruning is None:
        return "nothing"
    if study.first_rung is not None:
        return f"a ladder of halves from {count(study.first_rung, 'epoch')} on, beside full-length trials"
    if not isinstance(study.pruning, Median):
        return described(study.pruning)
    return ", ".join(f"{key} = {value}" for key, value in plain(study.pruning_rule).items() if key != "class")
