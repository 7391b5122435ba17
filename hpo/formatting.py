"""Numbers as people read them: sensible digits, units, durations, plurals. Never NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpo.promotion.intervals import Interval

NOTHING = "–"
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
    """The value as a number, or None where there is none: NaN, infinity, null."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def number(value: Any, digits: int = 4) -> str:
    """A number to `digits` significant digits; whole ones in full, and powers of ten only far from 1."""
    if isinstance(value, bool | str):
        return str(value)
    if finite(value) is None:
        return NOTHING
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.{digits - 1}e}"
    text = f"{value:.{digits}g}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else text


def score(value: Any) -> str:
    """A score to four significant digits, zeros included, so that the numbers of a column line up: 30.00."""
    if finite(value) is None or abs(value) >= 1e4 or 0 < abs(value) < 1e-4:
        return number(value)
    return f"{value:#.4g}".removesuffix(".")


def setting(value: Any) -> str:
    """The value of a hyperparameter."""
    return str(value) if isinstance(value, str | bool) or value is None else number(value)


def decimals(half_width: float) -> int:
    """How many decimals a mean deserves whose interval has this half width: two digits of the half width."""
    return max(0, 1 - math.floor(math.log10(half_width))) if half_width > 0 else 4


def interval(value: Interval | None, *, signed: bool = False) -> str:
    """The mean with its range, all to the digits that the width of the range allows: 0.0109 [0.0095, 0.0123]."""
    if value is None or any(finite(part) is None for part in (value.mean, value.low, value.high)):
        return NOTHING
    half = (value.high - value.low) / 2
    if not 1e-6 < half < 1e6:
        return f"{number(value.mean)} [{number(value.low)}, {number(value.high)}]"
    sign, places = "+" if signed else "", decimals(half)
    return f"{value.mean:{sign},.{places}f} [{value.low:{sign},.{places}f}, {value.high:{sign},.{places}f}]"


def mean_of(value: Interval, *, signed: bool = False) -> str:
    """The mean alone, to the same digits."""
    return interval(value, signed=signed).split(" [")[0]


def unit(name: str) -> str:
    """The unit that a score's name ends in ("psnr_db" -> "dB"), or nothing."""
    stem, _, last = name.rpartition("_")
    return UNITS.get(last, "") if stem else ""


def label(name: str) -> str:
    """A score's name with its unit apart: "psnr_db" -> "psnr (dB)"."""
    return f"{name.rpartition('_')[0]} ({unit(name)})" if unit(name) else name


def amount(value: Any, name: str) -> str:
    """A score with its unit: "31.34 dB"."""
    return f"{score(value)} {unit(name)}".rstrip()


def sentence(text: str) -> str:
    """The text with a capital letter first."""
    return text[:1].upper() + text[1:]


def better(direction: str) -> str:
    return "lower is better" if direction == "minimize" else "higher is better"


def duration(seconds: float | None) -> str:
    """Time in at most two units: 0.42 s, 12 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(amount: int, noun: str, plural: str = "") -> str:
    """ "1 trial", "2 trials"."""
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def settings(params: Mapping[str, Any]) -> str:
    """A configuration in one line."""
    return ", ".join(f"{name} = {setting(value)}" for name, value in params.items()) or "nothing searched"
