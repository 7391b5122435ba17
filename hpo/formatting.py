"""Numbers as people read them: sensible digits, units, durations, plurals. NaN and -0 are never shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hpo.direction import Direction

if TYPE_CHECKING:
    from hpo.promotion.intervals import Interval  # brings numpy and scipy, which the command line need not wait for

NOTHING = "\N{EN DASH}"  # stands where there is no number
UNITS = {
    "db": "dB",
    "m": "m",
    "cm": "cm",
    "mm": "mm",
    "deg": "°",
    "px": "px",
    "s": "s",
    "ms": "ms",
    "mb": "MB",
    "hz": "Hz",
}


def finite(value: Any) -> float | None:
    """The value as a float; None where it is NaN, infinite, or not a number."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def number(value: Any, digits: int = 4) -> str:
    """A number to `digits` significant digits: whole numbers in full below 1e9, powers of ten only far from 1."""
    if isinstance(value, bool | str):
        return str(value)
    if finite(value) is None:
        return NOTHING
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.{digits - 1}e}"
    mantissa, _, exponent = f"{value:z.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def score(value: Any) -> str:
    """A score to four significant digits with its zeros, so that the numbers of a column line up: "30.00"."""
    if finite(value) is None or abs(value) >= 1e4 or 0 < abs(value) < 1e-4:
        return number(value)
    return f"{value:z#.4g}".removesuffix(".")


def setting(value: Any) -> str:
    """The value of a hyperparameter."""
    return str(value) if isinstance(value, str | bool) or value is None else number(value)


def decimals(half_width: float) -> int:
    """How many decimals to show of a mean whose interval has this half width: two digits of the half width."""
    return max(0, 1 - math.floor(math.log10(half_width))) if half_width > 0 else 4


def interval(value: Interval | None, *, signed: bool = False) -> str:
    """The mean with its range, to as many digits as the width of the range allows: "0.0109 [0.0095, 0.0123]"."""
    if value is None or any(finite(part) is None for part in (value.mean, value.low, value.high)):
        return NOTHING
    half_width = (value.high - value.low) / 2
    if not 1e-6 < half_width < 1e6:
        return f"{number(value.mean)} [{number(value.low)}, {number(value.high)}]"
    sign = "+" if signed else ""
    style = f"{sign}z,.{decimals(half_width)}f"
    return f"{value.mean:{style}} [{value.low:{style}}, {value.high:{style}}]"


def mean_of(value: Interval, *, signed: bool = False) -> str:
    """The mean alone, to the digits that `interval` shows."""
    return interval(value, signed=signed).split(" [")[0]


def unit(name: str) -> str:
    """The unit that the name of a score ends in ("psnr_db" -> "dB"); "" where it ends in none."""
    stem, _, last = name.rpartition("_")
    return UNITS.get(last, "") if stem else ""


def label(name: str) -> str:
    """The name of a score with its unit in brackets: "psnr_db" -> "psnr (dB)"."""
    stem, _, _ = name.rpartition("_")
    return f"{stem} ({unit(name)})" if unit(name) else name


def amount(value: Any, name: str) -> str:
    """A score with its unit: "31.34 dB"."""
    return f"{score(value)} {unit(name)}".rstrip()


def sentence(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def better(direction: str) -> str:
    """ "lower is better" or "higher is better"."""
    return "lower is better" if Direction(direction) is Direction.MINIMIZE else "higher is better"


def duration(seconds: float | None) -> str:
    """Time in at most two units: "0.42 s", "12 s", "3 min 20 s", "2 h 05 min"."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole_seconds = round(seconds)
    if whole_seconds < 60:
        return f"{whole_seconds} s"
    minutes, rest = divmod(whole_seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def count(amount: int, noun: str, plural: str = "") -> str:
    """ "1 trial", "2 trials"; `plural` where it is more than the noun with an s."""
    if amount == 1:
        return f"1 {noun}"
    return f"{amount:,} {plural or noun + 's'}"


def ordinal(number: int) -> str:
    """ "first", "second", "third", and then "4th", "11th", "21st"."""
    words = {1: "first", 2: "second", 3: "third"}
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return words.get(number, f"{number}{ending}")


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def settings(params: Mapping[str, Any]) -> str:
    """A configuration in one line: "recipe.lr = 0.1, task.width = 24"."""
    return ", ".join(f"{name} = {setting(value)}" for name, value in params.items()) or "nothing searched"
