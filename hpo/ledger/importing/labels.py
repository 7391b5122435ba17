"""The labels that people put into the text of an experiment, and the headings of the ledger that they mean."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo.ledger.fields import HEADINGS

DETAILS = "Details"  # date, files, and what stands under no label
SYNONYMS = {
    "Hypothesis": "hypothesis|hypotheses|expectation|expected|prediction|why|rationale|motivation|goal|idea",
    "Approach": "approach|method|methods|setup|what|change|changes|design|implementation|procedure|training",
    "Results": "result|results|outcome|outcomes|finding|findings|performance|observation|observations|evaluation",
    "Problem": "problem|problems|issue|issues|failure|symptom|symptoms|what went wrong",
    "Root cause": "root cause|root causes|cause|causes|diagnosis|why it failed|reason|explanation",
    "Lesson": "lesson|lessons|lesson learned|lessons learned|learning|learnings|takeaway|takeaways|key insight"
    "|key insights|insight|insights|conclusion|conclusions",
    "Next steps": "next step|next steps|next|todo|to do|follow up|follow ups|followup|future work|action items",
    "Open questions": "open question|open questions|question|questions|questions to answer|unknowns",
}
HEADING_OF = {label: heading for heading in HEADINGS for label in SYNONYMS[heading].split("|")}
FACTS = frozenset(  # labels of facts, whatever stands behind them
    label
    for labels in (
        "date dates day started ended finished duration time author owner by status state",
        "script scripts code commit branch command commands checkpoint checkpoints weights log logs config",
        "configuration data dataset model parent base seed seeds hardware gpu params parameters link links report tags",
    )
    for label in labels.split()
) | {"based on"}


@dataclass(frozen=True)
class Passage:
    """What stands under one label; without a label where none stands before it."""

    label: str  # as written, without emphasis
    text: str  # behind the label
    is_prefixed: bool = False  # by a sign that the label's own text does not hold
    is_heading: bool = False
    is_row: bool = False

    @property
    def key(self) -> str:
        """The label in lower-case words."""
        return label_key(self.label)

    @property
    def whole(self) -> str:
        """The label and the text."""
        is_block = self.is_heading or re.match(r"[-*+>|#`~]|\d{1,9}[.)]\s|    ", self.text)
        separator = "\n\n" if is_block else " "
        return f"**{self.label}:**{separator}{self.text}".rstrip() if self.label else self.text


def label_key(label: str) -> str:
    """A label in lower-case words: `Lessons learned:` and `lessons_learned` are the same."""
    return " ".join(re.findall(r"[^\W_]+", label.casefold()))


def known_labels(passages: Sequence[Passage]) -> int:
    """How many of the passages stand under a heading of the ledger's."""
    return sum(passage.key in HEADING_OF for passage in passages)


def sorted_by_heading(passages: Sequence[Passage], headings: Mapping[str, str] = HEADING_OF) -> dict[str, str]:
    """The passages by the heading that each belongs under: one of the ledger's, `Details`, or its own label."""
    texts: dict[str, list[str]] = {}
    for passage in passages:
        heading = headings.get(passage.key) or _own_heading(passage)
        is_said_by_heading = passage.key == label_key(heading) and not passage.is_prefixed and heading not in texts
        if heading == DETAILS and passage.label:
            text = f"- {textwrap.indent(passage.whole, '  ').strip()}".replace(":**\n\n", ":**\n", 1)
        else:
            text = passage.text if is_said_by_heading else passage.whole
        if text.strip() or passage.label:
            texts.setdefault(heading, []).append(text)
    return {heading: _joined(parts) for heading, parts in texts.items()}


def _joined(parts: Sequence[str]) -> str:
    """Paragraphs; facts of a line each stand below each other."""
    text = ""
    for part in parts:
        is_list = part.startswith("- **") and text.rpartition("\n")[2].lstrip().startswith("- ")
        text = f"{text}\n{part}" if is_list else f"{text}\n\n{part}"
    return text.strip("\n")


def _own_heading(passage: Passage) -> str:
    name = " ".join(passage.label.split()).strip("# ")
    is_fact = passage.key in FACTS or passage.is_row
    return DETAILS if is_fact or not passage.key or len(name) > 80 else name
