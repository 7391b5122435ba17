"""What counts as a change of code, and which files are looked at."""

from __future__ import annotations

import importlib
import linecache
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hpo.code import fingerprint
from hpo.code.closure import ORDER, Code, code_of
from hpo.code.fingerprint import code_digest
from hpo.code.followed import Followed, FollowedOnce
from hpo.code.harness import HARNESS, PROMOTION, CodeIdentity, code_hash, harness_digests

SOURCE = '''
"""A module."""
import os
from a import b, c


class Net:
    """A net."""

    width = 8

    def forward(self, x):
        del x.cache, x.old
        return f"{x:.3f} of {self.width}" + "it's"
'''

SAME = {
    "a comment": ("    width = 8\n", "    width = 8  # channels\n"),
    "a docstring": ('"""A net."""', '"""Another net.\n\n    In two paragraphs."""'),
    "no docstring": ('    """A net."""\n', ""),
    "a field's docstring": ("    width = 8\n", '    width = 8\n    """channels"""\n'),
    "quotes": ('"it\'s"', "'it\\'s'"),
    "line breaks": ("x.cache, x.old", "(\n            x.cache,\n            x.old,\n        )"),
    "the order of imports": ("import os\nfrom a import b, c\n", "from a import c\nfrom a import b\nimport os\n"),
    "parentheses": ('+ "it\'s"', '+ ("it\'s")'),
    "a text in two pieces": ('"it\'s"', '"it" "\'s"'),
}
OTHER = {
    "a constant": ("width = 8", "width = 9"),
    "the type of a constant": ("width = 8", "width = 8.0"),
    "a name": ("width = 8", "size = 8"),
    "a text": ("it's", "it is"),
    "a format": (":.3f", ":.4f"),
    "an import": ("from a import b, c", "from a import b"),
    "where an import comes from": ("from a import b, c", "from d import b, c"),
    "what is deleted": ("x.cache, x.old", "x.cache"),
    "a base class": ("class Net:", "class Net(list):"),
    "a decorator": ("    def forward", "    @staticmethod\n    def forward"),
    "a statement": ("        del x.cache, x.old\n", ""),
}


@pytest.mark.parametrize("change", SAME)
def test_what_does_not_change_what_code_does_is_no_change(change: str) -> None:
    old, new = SAME[change]
    assert old in SOURCE
    assert code_digest(SOURCE.replace(old, new)) == code_digest(SOURCE)


@pytest.mark.parametrize("change", OTHER)
def test_what_changes_what_code_does_is_a_change(change: str) -> None:
    old, new = OTHER[change]
    assert old in SOURCE
    assert code_digest(SOURCE.replace(old, new)) != code_digest(SOURCE)


def test_a_study_survives_the_formatter(tmp_path: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    dense = (
        "x = { 'a':1 , 'b' : [ 1,2 ] }\ndef f( a,b = 2 ) :\n  return  a if( b )else 'it'\n"
        "del (x)\nz = f'{ 1 !r:>{ 3 }}'\n"
    )
    path = tmp_path / "dense.py"
    path.write_text(dense)
    subprocess.run([ruff, "format", "--quiet", "--isolated", path], check=True)
    assert path.read_text() != dense
    assert code_digest(path.read_text()) == code_digest(dense)


def other_pythons() -> list[str]:
    """Interpreters on the path, or beside this one where pyenv keeps them."""
    beside = sorted(Path(sys.base_prefix).parent.glob("3.*/bin/python3.[0-9][0-9]"))
    on_path = [shutil.which(f"python3.{minor}") for minor in range(11, 16)]
    versions = {_version(python): str(python) for python in (*filter(None, on_path), *beside)}
    return [python for version, python in sorted(versions.items()) if (3, 11) <= version != sys.version_info[:2]]


def _version(python: str | Path) -> tuple[int, ...]:
    said = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
    return tuple(map(int, said.stdout.split()))


OTHERS = other_pythons()


@pytest.mark.slow
@pytest.mark.skipif(not OTHERS, reason="no other Python from 3.11 on is installed")
@pytest.mark.parametrize("python", OTHERS)
def test_every_python_says_the_same(python: str) -> None:
    """Of this repository's files, and of some of the standard library's."""
    root = Path(__file__).parents[1]
    folders = (root / "hpo", root / "objectives", root / "tests")
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    files += sorted(Path(ast_folder()).glob("*.py"))[:60]
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from fingerprint import code_digest\n"
        "for line in sys.stdin: print(code_digest(open(line.strip(), encoding='utf-8').read()))"
    )
    there = subprocess.run(
        [python, "-c", program, str(Path(fingerprint.__file__).parent)],
        input="\n".join(map(str, files)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.split() == [code_digest(path.read_text(encoding="utf-8")) for path in files]


def ast_folder() -> Path:
    return Path(importlib.import_module("ast").__file__ or "").parent


# -- which files -----------------------------------------------------------------------------------------------------
FILES = {
    "ours/__init__.py": "from ours.task import Ours\n",
    "ours/task.py": "import beside\nfrom . import near\nfrom .far.away import f\nclass Ours:\n    pass\n",
    "ours/near.py": "import json, numpy, hpo\n",
    "ours/far/__init__.py": "",
    "ours/far/away.py": "def f():\n    from ours import late\n    return late\n",
    "ours/late.py": "X = 1\n",
    "ours/unused.py": "X = 1\n",
    "beside.py": "X = 1\n",
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


@pytest.fixture
def forgotten(tmp_path: Path) -> Iterator[None]:
    """Whatever a test imports of its own is not there for the next one."""
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None) -> type:
    write(tmp_path, FILES)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("ours").Ours


def test_imports_are_followed_beside_the_package_too_and_installed_packages_are_not(ours: type, tmp_path: Path) -> None:
    before = code_hash(ours)
    changed = set()
    for name, source in FILES.items():
        (tmp_path / name).write_text(f"{source}print('imported')\n")
        if code_hash(ours) != before:
            changed.add(name)
        (tmp_path / name).write_text(f"{source}# a comment\n")
        assert code_hash(ours) == before, name
        (tmp_path / name).write_text(source)
    assert changed == FILES.keys() - {"ours/unused.py"}


CIRCLES = {
    "round_/__init__.py": "from . import net\nfrom round_.task import Round\n",
    "round_/net.py": "WIDTH = 8\nfrom round_.task import DEPTH\n",
    "round_/task.py": "import round_\nDEPTH = 2\nclass Round:\n    width = property(lambda self: round_.net.WIDTH)\n",
}


@pytest.mark.parametrize("edited", [("round_/net.py", "8", "16"), ("round_/task.py", "2", "3")])
def test_a_package_that_imports_its_modules_and_they_it_is_followed(
    edited: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None
) -> None:
    """`from . import net` in a package binds its submodule by the submodule's own name."""
    write(tmp_path, CIRCLES)
    monkeypatch.syspath_prepend(tmp_path)
    task = importlib.import_module("round_.task").Round
    before = code_hash(task)
    name, old, new = edited
    edit(tmp_path / name, old, new)
    assert code_hash(task) != before


def test_a_moved_checkout_is_the_same_code(ours: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_of(ours)
    assert set(before.files) == {"ours/task.py", "ours/near.py", "ours/far/away.py", "ours/late.py", "beside.py"}
    assert before.packages == ("numpy",)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("ours", "beside.py"):
        shutil.move(tmp_path / name, moved / name)
    for name in [name for name in sys.modules if name.split(".")[0] in ("ours", "beside")]:
        del sys.modules[name]
    monkeypatch.syspath_prepend(moved)
    assert code_of(importlib.import_module("ours").Ours) == before


def test_what_has_no_source_is_refused() -> None:
    typed = type("Typed", (), {"__module__": "__main__.no_file"})
    with pytest.raises(ValueError, match=r"has no source that can be read.*define it in a file"):
        code_of(typed)


# -- a study file with modules beside it -----------------------------------------------------------------------------
STUDY = {
    "disc.py": """
from dataclasses import dataclass, replace
import importlib
import linecache
import runpy
import drawing
import profile as rows
import shapes.circle
from hpo import Fidelity, Recipe, StudySpec, log
from net import Net
from scores import REFERENCES, best_line, error
from tests.toy import CHEAP, FULL, SMOKE, Toy

RANGE = (1e-3, 1e-1)
SPACE = {"recipe.lr": log(*RANGE)}
SLOPE = 0.1

@dataclass(frozen=True)
class Disc(Toy):
    width: int = 32

    def __post_init__(self):
        for name in ("width", "shift"):
            getattr(self, name)

    def model(self):
        return self._built()

    def _built(self):
        try:
            from fast import Fast as Fitting
        except ImportError:
            from net import Net as Fitting
        late = importlib.import_module("late")
        named = runpy.run_path("by_path.py")
        return Fitting(self.width, SLOPE, late, named, shapes.circle.area, rows.read)

    def score(self, model, batches):
        return error(model, batches)

    def pictures(self, model, batches):
        yield from self._panels(drawing.panel)

    def _panels(self, panel):
        yield panel(REFERENCES)

    def checks(self, evidence):
        import slow_checks
        return slow_checks.all_of(evidence)

    def baselines(self, batches):
        return best_line(batches)

    def origins(self, split, fidelity):
        return {split}

study = StudySpec(name="disc", task=Disc(width=16), recipe=Recipe(lr=1e-2), space=SPACE, smoke=SMOKE, cheap=CHEAP,
                  full=FULL, trials=6)
""",
    "net.py": "class Net:\n    slope = 1\n\nDEAD = 0\n",
    "fast.py": "class Fast:\n    slope = 1\n",
    "late.py": "SLOPE = 1\n",
    "by_path.py": "SLOPE = 1\n",
    "profile.py": "def read():\n    return 1\n",
    "shapes/__init__.py": "",
    "shapes/circle.py": "def area():\n    return 1\n\ndef _used_by_name():\n    return 1\n",
    "drawing.py": "import strokes\n\nINK = 3\n\ndef panel(rows):\n    return strokes.line(INK)\n",
    "strokes.py": "def line(ink):\n    return 1\n",
    "slow_checks.py": "print('loaded')\n\ndef all_of(evidence):\n    return [1]\n",
    "scores.py": "def error(model, batches):\n    return 1\n\nREFERENCES = {'a': 1}\n\n"
    "def best_line(batches):\n    return _fit(2)\n\ndef _fit(order):\n    return 2\n",
}
COUNTS = {
    "a module beside the file": ("net.py", "slope = 1", "slope = 2", "class Net"),
    "what nobody uses, in doubt": ("net.py", "DEAD = 0", "DEAD = 1", "constant DEAD"),
    "an import inside a function, in a try": ("fast.py", "slope = 1", "slope = 2", "class Fast"),
    "an import by a call": ("late.py", "SLOPE = 1", "SLOPE = 2", "constant SLOPE"),
    "a file named by its path": ("by_path.py", "SLOPE = 1", "SLOPE = 2", "constant SLOPE"),
    "a module with a name of the standard library": ("profile.py", "return 1", "return 2", "function read"),
    "a package beside it": ("shapes/circle.py", "area():\n    return 1", "area():\n    return 2", "function area"),
    "a score": ("scores.py", "return 1", "return 3", "function error"),
    "a method that training calls": ("disc.py", "self._built()", "self._built() or 1", "method Disc.model"),
    "a method of the user's own": ("disc.py", "self.width, SLOPE", "self.width + 1, SLOPE", "method Disc._built"),
    "a constant": ("disc.py", "SLOPE = 0.1", "SLOPE = 0.2", "constant SLOPE"),
    "a field's default": ("disc.py", "width: int = 32", "width: int = 33", "class Disc"),
    "a statement of a module that is only drawn with": (
        "drawing.py",
        "INK = 3\n",
        "INK = 3\nprint(2)\n",
        "statements outside functions",
    ),
}
DOES_NOT_COUNT = {
    "a picture": ("disc.py", "drawing.panel)", "drawing.panel or 1)"),
    "what pictures alone call": ("disc.py", "yield panel(", "yield 1 + panel("),
    "a module that pictures alone use": ("drawing.py", "strokes.line(INK)", "strokes.line(INK) + 1"),
    "a constant of it": ("drawing.py", "INK = 3", "INK = 4"),
    "a module that this module uses": ("strokes.py", "return 1", "return 2"),
    "a constant that pictures alone use": ("scores.py", "{'a': 1}", "{'a': 2}"),
    "a check": ("slow_checks.py", "[1]", "[2]"),
    "what runs when a module is imported that checks alone import": ("slow_checks.py", "'loaded'", "'again'"),
    "a baseline": ("scores.py", "_fit(2)", "_fit(3)"),
    "what baselines alone call": ("scores.py", "return 2", "return 3"),
    "where examples come from": ("disc.py", "{split}", "{split, fidelity}"),
    "more trials in the study": ("disc.py", "trials=6", "trials=8"),
    "another range": ("disc.py", "(1e-3, 1e-1)", "(1e-3, 1.0)"),
    "another parameter": ("disc.py", "log(*RANGE)}", 'log(*RANGE), "task.shift": log(1, 64)}'),
    "an import for the study": ("disc.py", "StudySpec, log", "StudySpec, integer, log"),
    "a comment in a module beside it": ("net.py", "slope = 1", "slope = 1  # of the line"),
}


@pytest.fixture
def disc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None) -> type:
    write(tmp_path, STUDY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "profile", raising=False)  # of the standard library
    return importlib.import_module("disc").Disc


def edit(path: Path, old: str, new: str) -> None:
    source = path.read_text()
    assert source.count(old) == 1
    path.write_text(source.replace(old, new))


@pytest.mark.parametrize("change", COUNTS)
def test_an_edit_of_what_training_reaches_is_a_change_and_is_named(change: str, disc: type, tmp_path: Path) -> None:
    file, old, new, name = COUNTS[change]
    before = code_of(disc)
    edit(tmp_path / file, old, new)
    after = code_of(disc)
    changed = {
        (file, name)
        for file in {*before.files, *after.files}
        for name in {*before.files.get(file, {}), *after.files.get(file, {})} - {ORDER}
        if before.files.get(file, {}).get(name) != after.files.get(file, {}).get(name)
    }
    assert changed == {(file, name)}
    assert code_hash(disc) != CodeIdentity(before, harness_digests()).hash


@pytest.mark.parametrize("change", DOES_NOT_COUNT)
def test_an_edit_of_what_no_trial_depends_on_is_no_change(change: str, disc: type, tmp_path: Path) -> None:
    file, old, new = DOES_NOT_COUNT[change]
    before = code_hash(disc)
    edit(tmp_path / file, old, new)
    assert code_hash(disc) == before


def test_a_check_that_training_calls_counts(disc: type, tmp_path: Path) -> None:
    edit(tmp_path / "disc.py", "self._built()", "self._built(self.origins)")
    before = code_hash(disc)
    edit(tmp_path / "disc.py", "{split}", "{split, fidelity}")
    assert code_hash(disc) != before


def test_a_study_file_may_get_another_name(disc: type, tmp_path: Path) -> None:
    before = code_of(disc)
    (tmp_path / "disc.py").rename(tmp_path / "circle.py")
    renamed = code_of(importlib.import_module("circle").Disc)
    assert (before.root, renamed.root) == ("disc.py", "circle.py")
    assert CodeIdentity(renamed, {}).hash == CodeIdentity(before, {}).hash


def test_a_file_that_begins_with_a_byte_order_mark_is_the_same_code(disc: type, tmp_path: Path) -> None:
    before = code_hash(disc)
    for name in ("net.py", "disc.py"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert code_hash(disc) == before


def test_a_module_that_cannot_be_parsed_counts_as_a_whole(disc: type, tmp_path: Path) -> None:
    (tmp_path / "fast.py").write_text("print 'python 2'\n")
    before = code_hash(disc)
    (tmp_path / "fast.py").write_text("print 'python 2!'\n")
    assert code_hash(disc) != before


def test_the_code_is_followed_without_running_any_of_it(disc: type, tmp_path: Path) -> None:
    (tmp_path / "fast.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "slow_checks.py").write_text("raise RuntimeError('imported')\n")
    code_hash(disc)


# A package whose maker of data uses a part of it, and the rest of which its __init__ imports too.
MAKER = {
    "baked/__init__.py": "from baked.task import Task\n",
    "baked/task.py": "from baked.data import make\n\nclass Task:\n    rate = 1\n",
    "baked/data.py": """from baked import kinds, registry
from baked.shapes import Oven

def make(count):
    return [Oven().bake(kinds, "flat") for _ in range(count)]

def judge(cake):
    return 1
""",
    "baked/shapes.py": """from baked.kinds import HEAT

class Oven:
    def bake(self, kinds, name):
        return getattr(kinds, name)() * HEAT * factor()

def factor():
    return 3

def unused():
    return 4
""",
    "baked/kinds.py": "HEAT = 2\n\ndef flat():\n    return 5\n",
    "baked/registry.py": "def register(made):\n    return made\n\n@register\ndef noted():\n    return 6\n",
}


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: None) -> Callable[[int], list[int]]:
    write(tmp_path, MAKER)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("baked.data").make


@pytest.mark.parametrize(
    ("file", "before", "after", "counts"),
    [
        ("data.py", "range(count)", "range(count + 1)", True),
        ("shapes.py", "return 3", "return 30", True),  # through a class and its method
        ("kinds.py", "HEAT = 2", "HEAT = 20", True),
        ("kinds.py", "return 5", "return 50", True),  # the name is a text, so the whole module counts
        ("registry.py", "return 6", "return 60", True),  # its decorator may have kept it anywhere
        ("task.py", "rate = 1", "rate = 10", False),
        ("data.py", "return 1", "return 10", False),
        ("shapes.py", "return 4", "return 40", False),
    ],
)
def test_a_function_is_known_by_what_it_uses_and_not_by_what_stands_beside_it(
    maker: Callable[[int], list[int]], tmp_path: Path, file: str, before: str, after: str, counts: bool
) -> None:
    known = code_hash(maker)
    edit(tmp_path / "baked" / file, before, after)
    assert (code_hash(maker) != known) is counts


def test_a_function_that_has_no_file_is_known_by_its_source():
    def defined(source: str) -> Code:
        cell = f"<cell {len(linecache.cache)}>"
        linecache.cache[cell] = (len(source), None, source.splitlines(keepends=True), cell)
        names = {"__name__": "a_notebook"}
        exec(compile(source, cell, "exec"), names)
        return code_of(names["features"])

    before = defined("def features(count):\n    return [0] * count\n")
    assert defined("def features(count):  # of zeros\n    return [0] * count\n") == before
    assert defined("def features(count):\n    return [1] * count\n") != before


# -- hpo's own files ---------------------------------------------------------------------------------------------------
BEGAN_WITH = {
    "hpo/data/__init__.py": "bbbf91690ef4",
    "hpo/data/batch.py": "11bbe10e85c7",
    "hpo/data/contract.py": "3a92c9e933ff",
    "hpo/data/passes.py": "c8f202205bbb",
    "hpo/engine/__init__.py": "117aa1fdb8f9",
    "hpo/engine/checkpoint.py": "06ecb12b0d71",
    "hpo/engine/checkpoint_files.py": "c0fd8ffbeb24",
    "hpo/engine/cross_validation.py": "01e3e32ba980",
    "hpo/engine/distributed.py": "7dcb989afbc6",
    "hpo/engine/evaluation.py": "d2e0d90e4e52",
    "hpo/engine/gradients.py": "531b07b5d86f",
    "hpo/engine/model.py": "a2be567d9107",
    "hpo/engine/optimizers.py": "b41e8b1de1c9",
    "hpo/engine/own_training.py": "4d78d9ff052b",
    "hpo/engine/pseudo_values.py": "abc42ddb7aee",
    "hpo/engine/rows.py": "04e001c19496",
    "hpo/engine/run.py": "9727fb9732c7",
    "hpo/engine/totals.py": "702547260048",
    "hpo/engine/training.py": "99923092617a",
    "hpo/promotion/retune.py": "9abcf4c6b479",
    "hpo/promotion/runs.py": "bf557084ff80",
    "hpo/promotion/test_split.py": "50478796e1b2",
    "hpo/recipe.py": "a9f9f7815995",
    "hpo/schedule.py": "8b88717918f0",
    "hpo/seeds.py": "a4cc03280a10",
    "hpo/space.py": "6278a6dbd4ec",
    "hpo/study.py": "35aefe1fb289",
    "hpo/task.py": "472f1439a2c0",
    "hpo/trial/objective.py": "2404b9d1f9c9",
}


def test_a_study_that_began_with_an_earlier_hpo_goes_on() -> None:
    """Where a change of these files has no effect on any value, its digest belongs into hpo.code.harness.NO_EFFECT.
    Where it has one, it belongs here, and the changelog says that studies need `--accept code`."""
    now = harness_digests(HARNESS + PROMOTION)
    lines = [
        f'"{now[file]}": "{BEGAN_WITH[file]}",  # {file}' for file in BEGAN_WITH if now.get(file) != BEGAN_WITH[file]
    ]
    assert now.keys() == BEGAN_WITH.keys()
    assert not lines, "to be added to NO_EFFECT:\n" + "\n".join(lines)


def test_code_is_followed_again_where_a_module_on_the_way_is_another_one_and_else_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, followed = tmp_path / "net.py", []

    def follow(value: type) -> Followed[int]:
        followed.append(value)
        return Followed(len(followed), {"net": source, "torch": None, "absent": None})

    known = FollowedOnce(follow)
    source.write_text("width = 1")
    assert [known(Path), known(Path), known(str)] == [1, 1, 2]
    source.write_text("width = 16")
    assert [known(Path), known(Path)] == [3, 3]
    monkeypatch.setitem(sys.modules, "absent", fingerprint)
    assert [known(Path), known(Path)] == [4, 4]
    source.unlink()
    assert [known(Path), known(Path), known(str)] == [5, 5, 6]
