"""`--try recipe.lr=0.02 task.width=16`: from words to a configuration."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Sequence
from typing import Any

from hpo.errors import Refused

FLAG = "--try"


def joined(words: Sequence[str]) -> list[str]:
    """The words of a command, those that belong to one `--try` as one: an option cannot take several."""
    joined_words: list[str] = []
    for word in words:
        if _is_pair(word) and len(joined_words) > 1 and joined_words[-2] == FLAG:
            joined_words[-1] = f"{joined_words[-1]} {shlex.quote(word)}"
        elif _is_pair(word) and joined_words and joined_words[-1] == FLAG:
            joined_words.append(word if " " in word else shlex.quote(word))
        else:
            joined_words.append(word)
    return joined_words


def _is_pair(word: str) -> bool:
    return "=" in word and not word.startswith("-")


def parsed(texts: Sequence[str]) -> list[dict[str, Any]]:
    """A configuration for each `--try`. Raises Refused for what is no NAME=VALUE."""
    return [dict(_pair(word) for word in shlex.split(text)) for text in texts]


def _pair(word: str) -> tuple[str, Any]:
    name, equals_sign, text = word.partition("=")
    if not name or not equals_sign:
        raise Refused(f"--try: must be NAME=VALUE, as recipe.lr=0.02; got {word!r}")
    return name, _value(text)


def _value(text: str) -> Any:
    """A number, a boolean or None as Python writes it; else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
