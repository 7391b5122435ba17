"""The fidelity gate: does the cheap setting rank like the full one? The rule, and the record of what it came to.

Random configurations are trained once at both fidelities. The rank correlation of their values decides: 8 of them
first, and 8 more as long as it is open, up to 24.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError

from hpo.direction import Direction
from hpo.errors import Damaged
from hpo.files import write_json
from hpo.formatting import count, interval, number
from hpo.promotion.intervals import Interval
from hpo.storage.folder import RunFolder

if TYPE_CHECKING:
    from hpo.study import StudySpec

Decision = Literal["pass", "refuse", "open"]

FIRST = 8  # configurations that are tried before anything is decided
MORE = 8  # that are added while it is open
MOST = 24  # at which it is decided
WORTH = 0.2  # the largest share of a study's cost that `hpo run` spends on its full runs
TOO_LOW = math.atanh(0.40)  # a setting that ranks like this is refused
HIGH_ENOUGH = math.atanh(0.85)  # and one that ranks like this is passed
MIDDLE = (TOO_LOW + HIGH_ENOUGH) / 2  # a rank correlation of 0.69
QUANTILE = 1.75  # of the normal distribution: both errors stay below 10 %
CONFIDENCE_PERCENT = 92  # of the interval that this quantile makes
SPREAD = 1.03  # sqrt(1.06): how much wider a rank correlation scatters than Pearson's
KEEP = ((0.9, 2), (0.8, 3), (0.7, 5), (0.6, 7))  # least rank correlation -> how many configurations to promote
KEEP_MOST = 9  # where the rank correlation is lower still


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation of two fidelities, with the interval that the gate decides by."""

    value: float
    low: float
    high: float
    configurations: int  # that it was measured on


@dataclass(frozen=True)
class GatePair:
    """A configuration that was trained at both fidelities."""

    name: str  # "default" or "trial 7"
    key: str  # of the configuration, as a promotion has it
    trial: int  # number of its trial in the sweep
    cheap: float  # value of that trial
    full: float | None  # on validation; None: the run at full fidelity failed


@dataclass(frozen=True)
class Gate:
    """What the gate came to."""

    decision: Decision
    correlation: RankCorrelation
    keep: int  # how many configurations a promotion should begin with
    direction: Direction
    pairs: tuple[GatePair, ...]
    forced: bool = False  # the study went on although the gate refused

    @property
    def failed(self) -> int:
        """How many runs at full fidelity failed."""
        return sum(pair.full is None for pair in self.pairs)

    @property
    def evidence(self) -> str:
        """What the decision rests on, in words."""
        rho = self.correlation
        failed = f"; {self.failed} failed at full fidelity and count as last" if self.failed else ""
        return (
            f"rank correlation {interval(Interval(rho.value, rho.low, rho.high))} over "
            f"{count(rho.configurations, 'random configuration')}{failed}"
        )

    @property
    def sentence(self) -> str:
        """The decision in words, with what it rests on."""
        relation = "ranks" if self.decision == "pass" else "does not rank"
        return f"the cheap setting {relation} like the full one: {self.evidence}"

    @property
    def remedy(self) -> str:
        """What to do after a refusal."""
        full = [pair.full for pair in self.pairs if pair.full is not None]
        values = f" (full values from {number(min(full))} to {number(max(full))})" if full else ""
        return (
            f"mend the cheap fidelity, with more epochs or examples, in a study of another name, unless nothing that "
            f"is searched matters at all{values}"
        )


def rank_correlation(cheap: Sequence[float], full: Sequence[float]) -> RankCorrelation:
    """Return Spearman's rank correlation of at least 4 pairs of values; infinite ones rank first or last.

    Where one side is the same everywhere it ranks nothing, and the correlation is 0. The interval is the one that
    `decide` asks for: Fisher's z = atanh(rho) with a standard error of 1.03 / sqrt(n - 3) (Fieller, Hartley and
    Pearson, 1957). A perfect correlation has an infinite z, so z is taken no further out than half way from there to
    one exchange of two neighbours. Raises ValueError below 4 pairs.
    """
    from scipy import stats  # takes half a second to import

    pairs = len(cheap)
    if pairs < 4:
        raise ValueError(f"a rank correlation with an interval needs at least 4 pairs; got {pairs}")
    varies = len(set(cheap)) > 1 and len(set(full)) > 1
    value = float(stats.spearmanr(stats.rankdata(cheap), stats.rankdata(full)).statistic) if varies else 0.0
    z = _z(value, pairs)
    half_width = QUANTILE * SPREAD / math.sqrt(pairs - 3)
    return RankCorrelation(value, math.tanh(z - half_width), math.tanh(z + half_width), pairs)


def decide(correlation: RankCorrelation, *, last: bool) -> Decision:
    """Pass or refuse where the interval allows it; "open" where it does not, unless this is the `last` look.

    A correlation is passed that is above the middle of 0.40 and 0.85 on Fisher's scale, and whose interval lies above
    0.40; it is refused below the middle, where the interval lies below 0.85. At the last look the middle alone decides.
    """
    z = _z(correlation.value, correlation.configurations)
    if z >= MIDDLE and (last or math.atanh(correlation.low) > TOO_LOW):
        return "pass"
    if z < MIDDLE and (last or math.atanh(correlation.high) < HIGH_ENOUGH):
        return "refuse"
    return "open"


def _z(value: float, pairs: int) -> float:
    most = 1 - 6 / (pairs * (pairs**2 - 1))  # an exchange of two neighbours costs twice as much
    return math.atanh(max(-most, min(most, value)))


def stages(trials: int) -> tuple[int, ...]:
    """After how many configurations the gate decides, in a sweep of so many trials; none where those are too few."""
    planned = range(FIRST, MOST + 1, MORE)
    possible = [configurations for configurations in planned if configurations <= trials]
    if possible and possible[-1] < trials < MOST:
        possible.append(trials)
    return tuple(possible)


def is_one_fidelity(study: StudySpec) -> bool:
    """Whether both fidelities train and validate alike, so that there is nothing to test."""
    return replace(study.cheap, test=None) == replace(study.full, test=None)


def keep_from(rho: float) -> int:
    """How many configurations to promote where the cheap setting ranks with this correlation.

    So many that the best of 24 is missed by no more than a tenth of the spread of all configurations.
    """
    return next((keep for least, keep in KEEP if rho >= least), KEEP_MOST)


def judge_gate(pairs: Sequence[GatePair], direction: Direction, *, last: bool = False) -> Gate:
    """What the gate comes to with these pairs. A run that failed at full fidelity ranks last there."""
    cheap = [direction.sign * pair.cheap for pair in pairs]
    full = [direction.sign * direction.worst_if_none(pair.full) for pair in pairs]
    correlation = rank_correlation(cheap, full)
    return Gate(
        decision=decide(correlation, last=last),
        correlation=correlation,
        keep=keep_from(correlation.value),
        direction=direction,
        pairs=tuple(pairs),
    )


# -- the record ------------------------------------------------------------------------------------------------------
def write_gate(folder: RunFolder, gate: Gate) -> None:
    """Keep the gate's record in the study's folder."""
    write_json(folder.gate, asdict(gate))


def read_gate(folder: RunFolder) -> Gate | None:
    """What the study's gate came to; None where there was none. Raises Damaged where the record cannot be read."""
    if not folder.gate.exists():
        return None
    try:
        return TypeAdapter(Gate).validate_json(folder.gate.read_bytes())
    except ValidationError as error:
        raise Damaged(
            f"{folder.gate} is damaged: {error.errors()[0]['msg']}; remove it and run the gate again"
        ) from error
