"""What of the user's code a class or a function depends on: followed through imports, outside installed packages and
hpo itself, and through the names that each definition uses.

Of a class, what only the pictures, checks, baselines, origins and files of a task reach is left out, and so is the
statement that makes a study of it: no trial depends on them. Whatever cannot be told counts. Of a function, what it
uses by name counts, and the statements that run when its module is imported.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hpo.code.fingerprint import SHORT, bytes_digest, code_digest
from hpo.code.followed import Followed, FollowedOnce
from hpo.code.modules import HARNESS, own_file
from hpo.code.notebook import source_of
from hpo.code.program import Key, Program
from hpo.code.units import Import, Unit
from hpo.errors import Refused

BESIDE_TRAINING = ("pictures", "checks", "baselines", "origins", "files")  # methods of a task that no trial depends on
ORDER = "the order of its definitions"


@dataclass(frozen=True)
class Code:
    """The code that something depends on: file -> definition -> digest."""

    root: str  # the file that it is defined in
    files: Mapping[str, Mapping[str, str]]
    packages: tuple[str, ...] = ()  # installed packages that these files import, by the name of the import


def code_of(value: type | Callable[..., Any]) -> Code:
    """The user's code that a class or a function depends on.

    Of a class or function that has no file, as in a notebook, that is its own source. Raises Refused where it has no
    source either.
    """
    if own_file(value.__module__):
        return _code_once(value)
    label = f"{value.__module__}.{value.__qualname__}"
    try:
        digest = code_digest(textwrap.dedent(source_of(value)))
    except (OSError, TypeError, SyntaxError) as error:
        raise Refused(
            f"{value.__qualname__} has no source that can be read, so a change of it would not be noticed; "
            f"define it in a file"
        ) from error
    return Code(label, {label: {"its source": digest[:SHORT]}})


def _follow(value: type | Callable[..., Any]) -> Followed[Code]:
    closure = _Closure(value)
    return Followed(closure.code(), closure.program.paths)


_code_once = FollowedOnce(_follow)


class _Closure:
    """What a class or a function may reach, from unit to unit."""

    def __init__(self, value: type | Callable[..., Any]) -> None:
        bases = inspect.getmro(value) if isinstance(value, type) else ()
        self.root = value.__module__
        self.function = "" if isinstance(value, type) else value.__qualname__.partition(".")[0]
        self.own = [base for base in bases if own_file(base.__module__)]
        foreign = [base for base in bases if base not in self.own]
        self.hooks = {name for base in foreign for name in vars(base)} - set(BESIDE_TRAINING)
        self.program = Program(self.own)
        keys = [key for base in self.own for key in self.program.keys(base.__module__)]
        self.methods = {key for key in keys if self.program.unit(key).method}

    def code(self) -> Code:
        """The units that count, bundled by file."""
        kept = self._kept()
        files = {}
        for module in sorted({key.module for key in kept}):
            units = [self.program.unit(key) for key in self.program.keys(module) if key in kept]
            files[self.program.label(module)] = _digests(units)
        imported = {target.module.partition(".")[0] for key in kept for target in self.program.unit(key).imports}
        packages = tuple(sorted(name for name in imported if name and self.program.is_installed(name)))
        return Code(self.program.label(self.root), files, packages)

    def _kept(self) -> set[Key]:
        """Of a function: what it reaches. Of a class, what is left out is reached by what is beside training, and by
        nothing else."""
        if self.function:
            itself = self.program.binding(self.root, self.function) or self.program.keys(self.root)
            return self._reach([*self.program.run(self.root), *itself])
        beside = [key for key in self.methods if self.program.unit(key).method in BESIDE_TRAINING]
        beside += [key for key in self.program.keys(self.root) if self.program.unit(key).kind == "study"]
        candidates = self._reach(beside)
        starts = [*self.program.run(self.root), *self._doubtful(self.root, candidates)]
        starts += [key for base in self.own for key in self.program.class_keys(base.__module__, base.__name__)]
        return self._reach(starts, lambda module: self._doubtful(module, candidates))

    def _reach(self, starts: Iterable[Key], enter: Callable[[str], Iterable[Key]] = lambda _: ()) -> set[Key]:
        """The starts, and what these lead to. `enter` adds units of each module that something but its own statements
        is reached in."""
        reached: set[Key] = set()
        entered: set[str] = set()
        waiting = list(starts)
        while waiting:
            key = waiting.pop()
            if key in reached:
                continue
            reached.add(key)
            waiting += self._followed(key)
            modules = set(self.program.targets(key))
            if self.program.unit(key).kind != "statement":
                modules.add(key.module)
            for module in modules - entered:
                entered.add(module)
                waiting += enter(module)
        return reached

    def _doubtful(self, module: str, candidates: set[Key]) -> list[Key]:
        return [key for key in self.program.keys(module) if key not in candidates and not self._is_harmless(key)]

    def _is_harmless(self, key: Key) -> bool:
        """Whether a unit that nobody uses has no effect: an import from hpo or from Python's own library."""
        unit = self.program.unit(key)
        tops = {target.module.partition(".")[0] for target in unit.imports}
        return unit.kind == "import" and all(
            top == HARNESS or (top in sys.stdlib_module_names and not self.program.is_own(top)) for top in tops
        )

    # -- what a unit leads to --------------------------------------------------------------------------------------
    def _followed(self, key: Key) -> Iterator[Key]:
        unit = self.program.unit(key)
        for target in unit.imports:
            yield from self._imported(target, binds_at_top=unit.kind == "import")
        for name in unit.uses:
            yield from self._named(key.module, name.split("."))
        for text in unit.files:
            yield from self.program.named_file(key.module, text)
        yield from (method for method in self.methods if self._may_call(unit, self.program.unit(method).method))
        if unit.is_dynamic:
            yield from self.program.keys(key.module)
        if unit.name.startswith("class "):
            yield from self._hooks(key.module, unit.name.removeprefix("class "))

    def _may_call(self, unit: Unit, method: str) -> bool:
        return method in unit.mentions or (unit.asks_any and method not in BESIDE_TRAINING)

    def _hooks(self, module: str, owner: str) -> Iterator[Key]:
        """The methods that hpo, or Python, calls by their name."""
        for key in self.program.keys(module):
            unit = self.program.unit(key)
            if unit.owner == owner and unit.method in self.hooks:
                yield key

    def _imported(self, target: Import, *, binds_at_top: bool) -> Iterator[Key]:
        """What an import reaches: what runs then, and what the name is bound to. What is asked of a module that is
        imported inside a function is not followed: all of it counts."""
        yield from self.program.run(target.module)
        if target.name == "*" or (target.name is None and not binds_at_top):
            yield from self.program.keys(target.module)
        elif target.name:
            yield from self._inside(target.module, [target.name])

    def _named(self, module: str, name: list[str], asking: frozenset[str] = frozenset()) -> Iterator[Key]:
        """What a name stands for in a module, as far as its attributes can be followed. `asking` are the places from
        which it was asked for: modules may import a name from each other in a circle."""
        for key in self.program.binding(module, name[0]):
            yield key
            unit = self.program.unit(key)
            if unit.kind != "import":
                continue
            target = unit.imports[0]
            if target.name:
                yield from self._inside(target.module, [target.name, *name[1:]], asking)
            elif unit.name == f"import {target.module}":
                yield from self._inside(target.module, name[1:], asking)
            else:  # `import a.b` binds a, `import a.b as c` binds that module itself
                bound = unit.name.removeprefix("import ")
                is_top = target.module.startswith(f"{bound}.")
                yield from self._inside(bound if is_top else target.module, name[1:], asking)

    def _inside(self, module: str, name: list[str], asking: frozenset[str] = frozenset()) -> Iterator[Key]:
        """What a name stands for that is asked of a module; all of the module where that is not clear."""
        place = f"{module}.{name[0]}" if name else ""
        is_circle = place in asking  # such as `from . import net` in a package: the name is its submodule
        asking |= {place}
        if name and self.program.binding(module, name[0]) and not is_circle:
            yield from self._named(module, name, asking)
        elif name and (
            self.program.is_own(place) or not self.program.is_own(module)
        ):  # of a package without a file, go on
            yield from self.program.run(place)
            yield from self._inside(place, name[1:], asking)
        else:
            yield from self.program.keys(module)


def _digests(units: Iterable[Unit]) -> dict[str, str]:
    """The digest of each definition of a file, and that of their order."""
    by_name: dict[str, list[str]] = {}
    for unit in units:
        by_name.setdefault(unit.name, []).append(unit.digest)
    order: list[str] = []
    for is_import, group in groupby(units, key=lambda unit: unit.name.startswith("import ")):
        names = [unit.name for unit in group]
        order += sorted(names) if is_import else names
    contents = {name: "".join(digests) for name, digests in by_name.items()}
    contents[ORDER] = "\n".join(order)
    return {name: bytes_digest(content.encode())[:SHORT] for name, content in contents.items()}
