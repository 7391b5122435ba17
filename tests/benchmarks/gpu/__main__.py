r"""Everything that needs a GPU, in at most 8 minutes. Ends with 1 on a wrong result, and with 2 where time ran out.

    python -m tests.benchmarks.gpu [--device cpu] [--page FILE] [CHECK ...]

Each check is a process of its own with a time limit, so that one that hangs or crashes costs nobody else. Without a
card it says so, and the same checks run on the CPU at tiny size: that shows that they work, and nothing about a GPU.

A machine with Python 3.12 and torch, and no network, lacks 46 MiB of packages. To fetch and to install them:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
        --platform manylinux_2_17_x86_64 -d wheels -c constraints.txt -r tests/benchmarks/gpu/wheels.txt
    pip install --no-index --no-deps --target /tmp/site-packages wheels/*.whl && export PYTHONPATH=/tmp/site-packages

The folder must be called site-packages: by that name hpo knows that what lies in it is no code of the user's.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

WHEELS = "tests/benchmarks/gpu/wheels.txt"
NEEDED = ("hpo.verbs.run", "skimage", "sklearn", "OpenEXR")
TOTAL_S = 470.0  # of the 8 minutes
LIMITS = {  # seconds that a check may take at most; what decides about wrong and right comes first
    "precision": 60,
    "resume": 60,
    "memory": 90,
    "ranks": 60,
    "packing": 180,
    "tiers": 170,
    "speed": 120,
}


@dataclass(frozen=True)
class Ended:
    """How a check ended: 0 all claims hold, 1 one is wrong or the check crashed, 2 it ran out of time."""

    name: str
    code: int
    seconds: float
    lines: tuple[str, ...]


def main() -> int:
    options = parsed()
    if options.child:
        return run_here(options.checks[0], options.device)
    began = time.monotonic()
    require_packages()
    device, machine = described(options.device)
    print(machine, flush=True)
    ended = []
    for name in options.checks or LIMITS:
        left = TOTAL_S - (time.monotonic() - began)
        ended.append(run_apart(name, device, min(LIMITS[name], left)))
    codes = {each.code for each in ended}
    print(f"\n{sum(each.seconds for each in ended):.0f} s; {verdict(codes)}")
    if options.page:
        options.page.write_text(page(machine, ended))
    return 1 if 1 in codes else max(codes)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(LIMITS)}; none: all")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="without it: CUDA where there is a card")
    parser.add_argument("--page", type=Path, help="a Markdown file that gets the results")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.checks) - set(LIMITS)
    if unknown:
        parser.error(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(LIMITS)}")
    return options


def require_packages() -> None:
    """Exit with a sentence where a package is missing, before any of the time is spent."""
    try:
        for name in NEEDED:
            importlib.import_module(name)
    except ImportError as error:
        raise SystemExit(f"{error}; a machine without a network is given the wheels of {WHEELS}") from error
    if importlib.util.find_spec("viser") is None:  # its pictures are read, and nothing of it is imported
        raise SystemExit(
            f"the pictures of viser are missing; a machine without a network is given the wheels of {WHEELS}"
        )


def described(asked: str | None) -> tuple[str, str]:
    """The device, and the machine in words."""
    import torch  # takes seconds; an error in the arguments is told before

    versions = f"torch {torch.__version__}, Python {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} CPU cores"
    if torch.cuda.is_available() and asked != "cpu":
        card = torch.cuda.get_device_properties(0)
        gib = card.total_memory / 2**30
        return "cuda", f"{torch.cuda.device_count()} x {card.name}, {gib:.0f} GiB; {versions}"
    if asked == "cuda":
        raise SystemExit("--device cuda: this machine has no CUDA device")
    missing = "NO GPU HERE" if not torch.cuda.is_available() else "--device cpu"
    return "cpu", f"{missing}: the checks run on the CPU at tiny size and say nothing about a GPU; {versions}"


def run_here(name: str, device: str) -> int:
    """Run a check in this process and print its claims; 1 where one of them is wrong."""
    wrong = False
    try:
        module = importlib.import_module(f"tests.benchmarks.gpu.{name}")
        for claim in module.check(device):
            print(f"{claim.state:11} {claim.text}", flush=True)
            wrong |= claim.state == "WRONG"
    except Exception as error:  # whatever it is, the check has not passed
        traceback.print_exc()
        print(f"{'WRONG':11} {name} ended with {type(error).__name__}: {error}".splitlines()[0], flush=True)
        wrong = True
    return int(wrong)


def run_apart(name: str, device: str, limit_s: float) -> Ended:
    """Run a check in a process of its own, which is ended with all that it has started when its time is up."""
    print(f"\n{name}", flush=True)
    if limit_s < 5:
        return ended_late(name, 0.0, [], "not run: no time was left")
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--child", "--device", device, name]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return ended_late(name, time.monotonic() - began, shown(output), f"ended after its {limit_s:.0f} s")
    lines = shown(output)
    if process.returncode not in (0, 1) or not lines:
        lines.append(f"{'WRONG':11} {name} ended with code {process.returncode}")
        print(f"    {lines[-1]}")
    seconds = time.monotonic() - began
    print(f"    {seconds:.0f} s", flush=True)
    return Ended(name, min(abs(process.returncode), 1) if lines else 1, seconds, tuple(lines))


def ended_late(name: str, seconds: float, lines: list[str], reason: str) -> Ended:
    """A check that has said what is in `lines`, and then ran out of time. A wrong claim stays wrong."""
    lines = [*lines, f"{'NO ANSWER':11} {name} {reason}"]
    print(f"    {lines[-1]}", flush=True)
    return Ended(name, 1 if any(line.startswith("WRONG") for line in lines) else 2, seconds, tuple(lines))


def shown(output: str) -> list[str]:
    """The lines of a check, after they are printed."""
    lines = [line for line in output.splitlines() if line.strip()]
    for line in lines:
        print(f"    {line}", flush=True)
    return lines


def verdict(codes: set[int]) -> str:
    if 1 in codes:
        return "a result is WRONG"
    return "NO ANSWER from some checks, for want of time" if 2 in codes else "all results are right"


def page(machine: str, ended: list[Ended]) -> str:
    """The results in Markdown."""
    parts = ["# GPU checks", machine]
    for each in ended:
        parts += [f"## {each.name} ({each.seconds:.0f} s)", "\n".join(f"- {line}" for line in each.lines)]
    return "\n\n".join([*parts, verdict({each.code for each in ended})]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
