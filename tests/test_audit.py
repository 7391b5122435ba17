"""The audit of the pruner: what would have become of the trials that it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo.page.audit import Audit
from hpo.page.collect import collect
from hpo.page.report import write_report
from hpo.space import distribution_of
from hpo.storage.database import open_storage
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from tests.test_report import Words
from tests.toy import Toy, toy_study

STUDY = toy_study(trials=12)
COMPLETE, PRUNED, FAIL, RUNNING = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING
SOUND = [(COMPLETE, float(value), None) for value in range(1, 7)]  # six completed trials: 1 to 6, lower is better
SPARED = [
    (COMPLETE, 0.5, 2),  # of eight completed trials the best quarter is 0.5 and 1
    (COMPLETE, 3.5, 1),
    (FAIL, None, 1),
]


@pytest.mark.parametrize(
    ("reached", "spared", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_wilsons(reached: int, spared: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3."""
    share = Audit(spared, reached).share
    assert (share.mean, share.low, share.high) == pytest.approx((reached / spared, low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("trials", "audit"),
    [
        ([], None),
        (SOUND, None),
        ([*SOUND, (PRUNED, None, None)], Audit(0, 0)),
        ([*SOUND, (PRUNED, None, None), *SPARED], Audit(3, 1)),
        ([*SOUND, (PRUNED, None, None), (RUNNING, None, 1)], Audit(0, 0)),
        ([(FAIL, None, 0)], Audit(1, 0)),
    ],
    ids=["no trial", "nothing pruned", "none spared", "spared", "one that still runs", "nothing completed"],
)
def test_it_counts_the_spared_trials_that_reached_the_best_quarter(
    tmp_path: Path, trials: list, audit: Audit | None
) -> None:
    assert collect(STUDY, stored(tmp_path, STUDY, trials)).sweep.audit == audit


class Upwards(Toy):
    """The toy with a goal that is to be maximised."""

    direction = "maximize"
    overfit = replace(Toy.overfit, measure="loss")


def test_where_higher_is_better_the_best_quarter_are_the_highest(tmp_path: Path) -> None:
    study = toy_study(task=Upwards())
    assert collect(study, stored(tmp_path, study, [*SOUND, *SPARED])).sweep.audit == Audit(3, 0)


def test_the_page_says_it_and_marks_the_spared_trials(tmp_path: Path) -> None:
    folder = stored(tmp_path, STUDY, [*SOUND, *SPARED])
    text = Words.of(write_report(STUDY, folder))
    assert "Of 3 trials that the pruner would have ended, 1 reached the best quarter" in text
    assert "when they were let run: 33% [6%, 79%]." in text
    assert text.count("spared") == 3 + 1, "three rows, and a sentence above them that explains the word"


def test_the_page_says_so_where_none_was_spared(tmp_path: Path) -> None:
    text = Words.of(write_report(STUDY, stored(tmp_path, STUDY, [*SOUND, (PRUNED, None, None)])))
    assert Audit(0, 0).sentence in text


def stored(path: Path, study: StudySpec, trials: list[tuple[TrialState, float | None, int | None]]) -> RunFolder:
    """A folder whose storage has trials in these states, with these values, spared at these epochs."""
    folder = RunFolder(path)
    kept = optuna.create_study(
        study_name=study.name, storage=open_storage(folder.storage, create=True), direction=study.task.direction
    )
    for state, value, spared_at in trials:
        kept.add_trial(
            create_trial(
                state=state,
                value=value,
                params=study.defaults(),
                distributions={name: distribution_of(entry) for name, entry in study.space.items()},
                intermediate_values={} if value is None else {0: value},
                user_attrs={} if spared_at is None else {"spared_at": spared_at},
            )
        )
    return folder
