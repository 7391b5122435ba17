"""One page of what hpo costs and gains, measured on this machine: `make bench`.

    python -m tests.benchmarks.page [--draw] [PART ...]

Without names all parts are measured, in about an hour on two idle cores. The results are kept in docs/bench.json,
a part at a time, and docs/bench.md and the table of README.md are made from it: so a part can be measured alone.
`--draw` measures nothing and makes both anew.
"""

import argparse
import sys
from pathlib import Path

from tests.benchmarks.page import parts
from tests.benchmarks.page.kept import Kept, measured_now, read, write
from tests.benchmarks.page.markdown import page, with_table

RESULTS, PAGE, README = Path("docs/bench.json"), Path("docs/bench.md"), Path("README.md")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.page", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts.TITLES)}; none: all")
    parser.add_argument("--draw", action="store_true", help="measure nothing; make the pages from docs/bench.json")
    options = parser.parse_args()
    unknown = set(options.parts) - set(parts.TITLES)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts.TITLES)}")
    failed = []
    for name in [] if options.draw else options.parts or parts.TITLES:
        print(f"\n{parts.TITLES[name]}", flush=True)
        kept = measured_now(lambda name=name: parts.measure(name))
        failed += [name] if kept.error else []
        write(RESULTS, name, kept)
    draw(read(RESULTS))
    if failed:
        print(f"could not be measured: {', '.join(failed)}; see {PAGE}", file=sys.stderr)
    return 1 if failed else 0


def draw(results: dict[str, Kept]) -> None:
    """Write the page, and the table between its marks in README.md, both in the order of the parts."""
    results = {name: results[name] for name in parts.TITLES if name in results}
    PAGE.write_text(page(results, parts.TITLES))
    README.write_text(with_table(README.read_text(), results))


if __name__ == "__main__":
    sys.exit(main())
