"""What a page's marks say when they are pointed at. Many marks say the same, so each text stands in the page once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KEYS = ("text", "hovertext")  # of a trace: a text for each of its marks


class SharedTexts:
    """The texts of the figures of one page, each named by its number. page.js puts them back into the figures."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._texts: dict[str, int] = {}

    def shorten(self, figure: Mapping[str, Any]) -> dict[str, Any]:
        """The figure, of which each list of texts is a list of numbers under another key, "shared_text" for "text"."""
        traces = figure.get("data", [])
        return {**figure, "data": [self._shorten(trace) for trace in traces]}

    @property
    def record(self) -> dict[str, Any]:
        """All lines, and each text as the numbers of its lines."""
        texts = [[self._lines[line] for line in text.split("<br>")] for text in self._texts]
        return {"lines": list(self._lines), "texts": texts}

    def _shorten(self, trace: Mapping[str, Any]) -> dict[str, Any]:
        short = dict(trace)
        for key in KEYS:
            if _is_texts(trace.get(key)):
                short[f"shared_{key}"] = [self._number(text) for text in short.pop(key)]
        return short

    def _number(self, text: str | None) -> int | None:
        if text is None:
            return None
        if text not in self._texts:
            self._texts[text] = len(self._texts)
            for line in text.split("<br>"):
                self._lines.setdefault(line, len(self._lines))
        return self._texts[text]


def _is_texts(value: Any) -> bool:
    """Whether it is a text or nothing for each mark: a task's own figure may hold anything."""
    return isinstance(value, Sequence) and not isinstance(value, str) and all(_is_text(text) for text in value)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)
