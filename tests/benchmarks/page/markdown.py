"""The page and the table of README.md, from the results."""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.page.kept import Kept

BEGIN, END = "<!-- bench: made by `make bench` -->", "<!-- /bench -->"
INTRODUCTION = """# Measured

Made by `make bench`, which takes about an hour on two idle cores; `python -m tests.benchmarks.page PART` measures
one part again. Ratios are of runs that were done in turn, as median (least to largest in how many), since the speed of
a machine changes by the hour. Below each table stands how many cores other processes kept busy meanwhile: above 0.2,
wall times say little. What needs a GPU is measured by `python -m tests.benchmarks.gpu`."""


def page(results: Mapping[str, Kept], titles: Mapping[str, str]) -> str:
    """The whole page. A part that was never measured says so."""
    parts = [INTRODUCTION]
    for name, title in titles.items():
        parts += [f"## {title}", *part(name, results.get(name))]
    return "\n\n".join(parts) + "\n"


def part(name: str, kept: Kept | None) -> list[str]:
    command = f"`python -m tests.benchmarks.page {name}`"
    if kept is None:
        return [f"Not measured yet: {command}."]
    if kept.error:
        return [f"Could not be measured ({kept.day}): {escaped(kept.error)}. Again: {command}."]
    rows = [(row.quantity, row.measured, row.goal) for row in kept.rows]
    condition = (
        f"{kept.how} {kept.day}, {kept.cores} cores of which others kept {kept.others} busy, {kept.versions}; "
        f"{kept.seconds:.0f} s. {command}"
    )
    return [table(("", "measured", "goal"), rows), condition]


def with_table(readme: str, results: Mapping[str, Kept]) -> str:
    """README.md with the table of its rows between the two marks; unchanged where it has none."""
    if BEGIN not in readme or END not in readme:
        return readme
    before, rest = readme.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    rows = [(row.short, row.measured, row.goal) for kept in results.values() for row in kept.rows if row.short]
    return f"{before}{BEGIN}\n{table(('', 'measured', 'goal'), rows)}\n{END}{after}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(map(escaped, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escaped(text: str) -> str:
    return text.replace("|", "\\|")
