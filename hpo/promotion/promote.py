"""Promotion: the sweep's best configurations and the default race at full fidelity, and the leader is judged.

It is another Optuna study over the same objective, with parameters enqueued instead of drawn and nothing pruned. The
validation score says who goes on to the next round. The test split, which nothing else reads, then shows whether the
leader is better than the default: if that is not sure, the default stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial

from hpo.contract.returned import checked_checks
from hpo.engine.own_training import OwnTraining
from hpo.files import write_json
from hpo.plain import nulled, plain
from hpo.promotion.candidate import RunKey, Tie
from hpo.promotion.ended import EndedRace
from hpo.promotion.export import best_run, export_winner, write_pictures
from hpo.promotion.looks import Look, add_look
from hpo.promotion.results import Verdict
from hpo.promotion.retune import check_retuned
from hpo.promotion.runs import PromotionRuns, Runs, SeedsWanted, run_candidate, run_on_devices
from hpo.promotion.selection import NOTHING_ELSE, Selection, Wish, freeze, sweep_trials
from hpo.promotion.sentence import with_failed_checks
from hpo.promotion.standing import plan_of
from hpo.promotion.test_split import Baseline, SplitBatches, score_baselines
from hpo.promotion.verdict import judge
from hpo.storage.folder import RunFolder
from hpo.storage.locks import study_lock
from hpo.storage.summary import Summary
from hpo.storage.transient import retry_storage
from hpo.study import StudySpec
from hpo.task import Check, Evidence, SweptTrial
from hpo.trial.artifact import load_winner
from hpo.trial.changes import code_note
from hpo.trial.guard import run_check
from hpo.trial.lifecycle import state_of
from hpo.trial.retry import finish_retry
from hpo.trial.summarize import keep_summary
from hpo.workers import coordinator
from hpo.workers.preparation import prepare_worker


def promote(
    study: StudySpec,
    folder: RunFolder,
    identity: Mapping[str, str],
    *,
    workers: int = 1,
    on: str = "auto",
    device: str = "auto",
    devices: int = 1,
    wish: Wish = NOTHING_ELSE,
    tie: Tie = "default",
    wanted: SeedsWanted | None = None,
    baselines: tuple[Baseline, ...] | None = None,
    watch: Callable[[Summary], None] = lambda _: None,
) -> Verdict:
    """Let `study.keep` configurations and the default race at full fidelity, with `study.seeds` in the last round, and
    judge.

    Writes the verdict, the winner's weights and card, and the task's pictures into the study's folder. An interrupted
    promotion continues with the selection that it began with. `wish` asks for more seeds or for a new promotion, and
    `tie` for what is exported where the leader's lead is not sure. With `devices` above 1 there is one run at a time,
    on that many devices. Where `wanted` is given, it says how many seeds the last round has, and is asked again before
    each run of it. `baselines` are the classical methods, where they have been scored before. `watch` is called with
    the summary, which is kept in the folder too, about once a second.

    Raises Refused where no trial of the sweep is complete or `wish` cannot be met, and SweepFailed where every
    candidate has a failed run.
    """
    with study_lock(folder) as hold:
        finish_retry(study, folder, identity, "promotion")
        selection = freeze(study, folder, wish)
        source = retry_storage(lambda: PromotionRuns(study, selection, folder, identity, wanted=wanted, device=device))
        run = run_candidate if devices == 1 else partial(run_on_devices, devices)
        pool = coordinator.executor(workers, on if devices == 1 else "inline", device=device, folder=folder)
        with keep_summary(study, folder, "promotion") as summary_file:

            def look(note: str = "") -> None:
                hold()
                trials = source.trials()
                watch(summary_file.update(trials, plan_of(source.race, trials), workers=pool.workers, note=note))

            look()
            coordinator.drive(source, run, pool=pool, watch=look)
            look()
            prepare_worker()
            rivals = score_baselines(study, folder, look) if baselines is None else baselines
            return _judged(study, folder, source.selection, source.finished(), rivals, tie=tie, device=device)


def _judged(
    study: StudySpec,
    folder: RunFolder,
    selection: Selection,
    runs: Runs,
    baselines: tuple[Baseline, ...],
    *,
    tie: Tie,
    device: str,
) -> Verdict:
    """The verdict on a race that is over, which is written with all that belongs to it."""
    verdict = judge(study, selection, runs, baselines, tie=tie)
    winner = export_winner(study, folder, verdict, device=device)
    race = EndedRace(study, selection, runs)
    checks = (
        *run_check("the task's checks", partial(_task_checks, study, folder, race, verdict)),
        *_one_code(folder),
        *run_check("pictures", partial(_draw, winner, study, folder)),
    )
    verdict = replace(verdict, checks=checks)
    if not study.is_rehearsal:  # which is too short for the task's demands
        verdict = with_failed_checks(verdict)
    look = Look(selection.key, verdict.sentence, selection.next_seed)
    add_look(folder, look, instead_of=selection.key_before_races)  # first: a verdict that is there has been read
    write_json(folder.verdict, nulled(plain(asdict(verdict))))
    return verdict


def _one_code(folder: RunFolder) -> list[Check]:
    """A caution where candidates were chosen among trials of different code."""
    note = code_note(folder)
    return [Check("one code", "caution", note, "every trial of the sweep ran with the same code")] if note else []


def _task_checks(study: StudySpec, folder: RunFolder, race: EndedRace, verdict: Verdict) -> list[Check]:
    """The task's own checks on the winner's best run, and those of the settings that were re-tuned for it.

    The baselines' scores are those of the folds that the winner's own scores are from.
    """
    winner = verdict.winning
    best = race.runs[RunKey(winner.candidate.key, best_run(study, winner).seed_index)].outcome
    validation = [run.score for run in winner.runs]
    noise = float(np.std(validation, ddof=1)) if len(validation) > 1 else 0.0
    task, _ = study.configure(winner.candidate.params, study.full)
    seeds = race.own_seeds(winner.candidate)
    evidence = Evidence(
        "promotion",
        scores=winner.scores,
        history=best.history,
        trials=tuple(_swept_trial(trial) for trial in sweep_trials(study, folder)),
        baselines={baseline.name: baseline.scores_of(seeds) for baseline in verdict.baselines},
    )
    return [*check_retuned(best.tried, noise), *checked_checks(task, task.checks(evidence))]


def _swept_trial(trial: FrozenTrial) -> SweptTrial:
    return SweptTrial(
        number=trial.number,
        state=state_of(trial),
        value=None if state_of(trial) == "failed" else trial.value,
        params=trial.params,
        epochs=len(trial.intermediate_values),
        reason=trial.user_attrs.get("reason", ""),
    )


def _draw(winner: Path, study: StudySpec, folder: RunFolder) -> list[Check]:
    """Draw the task's pictures of the winner on the test split. Returns no check: only an exception makes one."""
    if isinstance(study.task, OwnTraining):
        return []  # there is no model that pictures could be drawn of
    task, model = load_winner(winner)
    batches = SplitBatches(task, "test", study.full, study.recipe.batch_size)
    write_pictures(folder.pictures, task.pictures(model, batches))
    return []
