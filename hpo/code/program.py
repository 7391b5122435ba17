"""The source files of a program, read unit by unit as they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo.code.modules import HARNESS, beside, own_file
from hpo.code.units import Unit, units_of


@dataclass(frozen=True)
class Key:
    """A unit of a module, by its place."""

    module: str
    index: int


class _Module:
    """The units of a module, and which of them bind a name."""

    def __init__(self, name: str, units: tuple[Unit, ...]) -> None:
        self.units = units
        self.keys = [Key(name, index) for index in range(len(units))]
        self.binding: dict[str, list[Key]] = {}
        for key, unit in zip(self.keys, units, strict=True):
            for bound in unit.binds:
                self.binding.setdefault(bound, []).append(key)


class Program:
    """The modules that a class or a function may reach, each read when it is first asked for."""

    def __init__(self, split: Sequence[type]) -> None:
        """The classes in `split` are split into their methods."""
        self.split = split
        self.paths: dict[str, Path | None] = {}  # of modules that have been asked for
        self._modules: dict[str, _Module] = {}
        self._named: dict[str, str] = {}  # the texts that name files, by what stands for the module
        self._runs: dict[str, list[Key]] = {}  # what runs when a module is imported

    def keys(self, module: str) -> list[Key]:
        """The units of a module, in order; none where it is not the user's own."""
        return self._module(module).keys

    def unit(self, key: Key) -> Unit:
        """The unit of a key."""
        return self._module(key.module).units[key.index]

    def binding(self, module: str, name: str) -> list[Key]:
        """The units of a module that bind a name."""
        return self._module(module).binding.get(name, [])

    def class_keys(self, module: str, name: str) -> list[Key]:
        """The definitions of a class of a module, without its methods where it is split."""
        return [key for key in self.keys(module) if self.unit(key).name == f"class {name}"]

    def _module(self, module: str) -> _Module:
        if module not in self._modules:
            self._modules[module] = _Module(module, self._read(module))
        return self._modules[module]

    def _read(self, module: str) -> tuple[Unit, ...]:
        path = self.path(module)
        if path is None:
            return ()
        split = frozenset(base.__name__ for base in self.split if base.__module__ == module)
        status = path.stat()
        return units_of(path, status.st_mtime_ns, status.st_size, module, split)

    def named_file(self, module: str, text: str) -> list[Key]:
        """The units of the source file that a text names, beside the module of the text; none where it is not there."""
        own = self.path(module)
        path = beside(own, text) if own else None
        if path is None:
            return []
        name = text.replace(".", ":")  # no module has this name
        self.paths[name], self._named[name] = path, text
        return self.keys(name)

    def path(self, module: str) -> Path | None:
        """The file of a module of the user's own; None of any other."""
        if module not in self.paths:
            self.paths[module] = own_file(module)
        return self.paths[module]

    def is_own(self, module: str) -> bool:
        """Whether a module is the user's own, and neither installed nor hpo's."""
        return self.path(module) is not None

    def is_installed(self, top: str) -> bool:
        """Whether a module at the top of its package is of an installed one."""
        return top not in sys.stdlib_module_names and top != HARNESS and not self.is_own(top)

    def label(self, module: str) -> str:
        """The file of a module, from where imports start: net.py, objectives/ris/task.py."""
        path = self.path(module)
        assert path is not None
        if module in self._named:
            return self._named[module]
        if module == "__main__":
            return path.name
        place = module.replace(".", "/")
        return f"{place}/__init__.py" if path.name == "__init__.py" else f"{place}.py"

    def run(self, module: str) -> list[Key]:
        """The statements that run when a module is imported: its own, its packages' and those of what it imports."""
        if module not in self._runs:
            self._runs[module] = list(self._running(module))
        return self._runs[module]

    def _running(self, module: str) -> Iterator[Key]:
        waiting, met = [module], set()
        while waiting:
            name = waiting.pop()
            if name in met:
                continue
            met.add(name)
            if "." in name:
                waiting.append(name.rpartition(".")[0])
            for key in self.keys(name):
                unit = self.unit(key)
                if unit.kind == "statement":
                    yield key
                waiting += self.targets(key)

    def targets(self, key: Key) -> list[str]:
        """The module that an import at the top of a file names."""
        unit = self.unit(key)
        if unit.kind != "import" and unit.name != "import *":
            return []
        (target,) = unit.imports
        submodule = f"{target.module}.{target.name}"
        is_submodule = target.name and not self.binding(target.module, target.name) and self.is_own(submodule)
        return [submodule if is_submodule else target.module]
