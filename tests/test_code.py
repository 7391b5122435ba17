"""What counts as a change of code, and which files are looked at."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo.code import closure, fingerprint
from hpo.code.closure import code_of
from hpo.code.fingerprint import code_digest
from hpo.code.harness import code_hash

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


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    for name, source in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("ours").Ours
    for name in [name for name in sys.modules if name.split(".")[0] in ("ours", "beside")]:
        del sys.modules[name]


def test_imports_are_followed_beside_the_package_too_and_installed_packages_are_not(ours: type, tmp_path: Path) -> None:
    before = code_hash(ours)
    changed = set()
    for name, source in FILES.items():
        (tmp_path / name).write_text(f"{source}Y = 2\n")
        if code_hash(ours) != before:
            changed.add(name)
        (tmp_path / name).write_text(f"{source}# a comment\n")
        assert code_hash(ours) == before, name
        (tmp_path / name).write_text(source)
    assert changed == FILES.keys() - {"ours/unused.py"}


def test_a_moved_checkout_is_the_same_code(ours: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_of(ours)
    assert set(before) == {"ours", "ours.task", "ours.near", "ours.far", "ours.far.away", "ours.late", "beside"}
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("ours", "beside.py"):
        shutil.move(tmp_path / name, moved / name)
    for name in [name for name in sys.modules if name.split(".")[0] in ("ours", "beside")]:
        del sys.modules[name]
    monkeypatch.syspath_prepend(moved)
    assert code_of(importlib.import_module("ours").Ours) == before


def test_a_file_is_read_as_python_reads_it(tmp_path: Path) -> None:
    """With a byte order mark, or in another encoding that its first line names."""
    text = "name = 'µ'\n"
    contents = {
        "plain": text.encode(),
        "marked": b"\xef\xbb\xbf" + text.encode(),
        "latin": b"# -*- coding: latin-1 -*-\n" + text.encode("latin-1"),
    }
    digests = set()
    for name, content in contents.items():
        (tmp_path / f"{name}.py").write_bytes(content)
        digests.add(closure.file_digest(tmp_path / f"{name}.py"))
        (tmp_path / f"{name}_first.py").write_bytes(content + b"import json\n")
        assert list(closure._imported(tmp_path / f"{name}_first.py", name)) == ["json"]
    assert len(digests) == 1


def test_what_has_no_source_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = type("Typed", (), {"__module__": "__main__"})
    monkeypatch.setattr(closure, "import_closure", lambda module: {})
    with pytest.raises(ValueError, match=r"has no source that can be read.*define it in a file"):
        code_of(typed)
