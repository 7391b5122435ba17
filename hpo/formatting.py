"""Numbers as people read them: sensible digits, units, durations, plurals. NaN and -0 are never shown."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from hpo.direction import Direction

if TYPE_CHECKING:
    from hpo.promotion.intervals import Interval  # brings numpy and scipy, which the command line need not wait for

_AMOUNT = r"(?:(\d+(?:\.\d+)?)\s*{})?\s*"
DURATION = re.compile("".join(_AMOUNT.format(unit) for unit in ("d", "h", "m(?:in)?", "s")))  # "1h30m", "2 h 05 min"
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


@dataclass(frozen=True)
class Numerals:
    """The three numbers of an interval as text, all to the digits that its width allows."""

    mean: str
    low: str
    high: str

    @property
    def range(self) -> str:
        """The range in words: "0.2 to 1.0"."""
        return f"{self.low} to {self.high}"


def numerals(value: Interval, *, signed: bool = False, in_words: bool = False) -> Numerals:
    """The numbers of an interval, all of which are finite.

    They have as many decimals as show two digits of the half width. `in_words` is coarser, as one would say it: one
    digit of the half width, or two where the first is a 1. An end that would read as zero, and is not, has its first
    digit that is not 0: it decides whether the interval excludes zero.
    """
    half_width = value.half_width
    sign = "+" if signed else ""
    if not 1e-6 < half_width < 1e6:
        return Numerals(number(value.mean), number(value.low), number(value.high))
    exponent = math.floor(math.log10(half_width))
    digits = 1 if in_words and half_width >= 2 * 10**exponent else 2
    style = f"{sign}z,.{max(0, digits - 1 - exponent)}f"
    low, high = (_end(end, style, sign) for end in (value.low, value.high))
    return Numerals(f"{value.mean:{style}}", low, high)


def _end(value: float, style: str, sign: str) -> str:
    """The end of an interval in this style, or its first digit where it would read as zero."""
    shown = f"{value:{style}}"
    reads_as_zero = not any(digit in shown for digit in "123456789")
    if value == 0 or not reads_as_zero:
        return shown
    return f"+{number(value, 1)}" if sign and value > 0 else number(value, 1)


def interval(value: Interval | None, *, signed: bool = False) -> str:
    """The mean with its range, for a table: "0.0109 [0.0095, 0.0123]"; a dash where there is none."""
    if not is_bounded(value):
        return NOTHING
    shown = numerals(value, signed=signed)
    return f"{shown.mean} [{shown.low}, {shown.high}]"


def is_bounded(value: Interval | None) -> TypeGuard[Interval]:
    """Whether there is an interval, all of whose numbers are finite."""
    return value is not None and all(finite(part) is not None for part in (value.mean, value.low, value.high))


def interval_in_words(value: Interval, unit: str = "") -> str:
    """The mean with its range, for a sentence: "0.6 % (0.2 to 1.0)"."""
    shown = numerals(value, in_words=True)
    return f"{shown.mean} {unit}".rstrip() + f" ({shown.range})"


def mean_of(value: Interval, *, signed: bool = False) -> str:
    """The mean alone, to the digits that `interval` shows."""
    return numerals(value, signed=signed).mean if is_bounded(value) else NOTHING


def share(value: Interval) -> str:
    """A share with its range, for a table: "33% [6%, 79%]"."""
    shown = numerals(value.times(100))
    return f"{shown.mean}% [{shown.low}%, {shown.high}%]"


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


def duration_range(least: float, most: float) -> str:
    """Times from `least` to `most` in one unit, to two digits: "14 to 29 min"; "about 14 min" where both are equal."""
    unit, seconds = "s", 1
    for name, length in (("min", 60), ("h", 3600)):
        if most >= 1.5 * length:
            unit, seconds = name, length
    low, high = (number(float(f"{time / seconds:.2g}"), 3) for time in (least, most))
    return f"about {high} {unit}" if low == high else f"{low} to {high} {unit}"


def seconds_of(text: str) -> float:
    """The seconds of "90 s", "45m", "2h" or "1 h 30 min". Raises ValueError for anything else, and for nothing."""
    match = DURATION.fullmatch(text.strip())
    parts = [float(part) for part in match.groups(default="0")] if match else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=False))
    if seconds <= 0 or not match:
        raise ValueError(f"must be a time such as 90s, 45m, 2h or 1h30m; got {text!r}")
    return seconds


def count(amount: int, noun: str, plural: str = "") -> str:
    """ "1 trial", "2 trials"; `plural` where it is more than the noun with an s."""
    if amount == 1:
        return f"1 {noun}"
    return f"{amount:,} {plural or noun + 's'}"


def out_of(done: int, planned: int, between: str = " of ") -> str:
    """ "3 of 4"; "4 of 4" where more are done than are planned now: an earlier command may have asked for them."""
    return f"{min(done, planned)}{between}{planned}"


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


def first_words(words: Sequence[str], most: int) -> str:
    """ "a, b, c and 4 more", where there are more than `most` words."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def first_lines(lines: Sequence[str], most: int) -> list[str]:
    """The first lines; where there are more, another one says how many."""
    return [*lines[:most], f"and {len(lines) - most} more"] if len(lines) > most else list(lines)


def settings(params: Mapping[str, Any]) -> str:
    """A configuration in one line: "recipe.lr = 0.1, task.width = 24"."""
    return ", ".join(f"{name} = {setting(value)}" for name, value in params.items()) or "nothing searched"
