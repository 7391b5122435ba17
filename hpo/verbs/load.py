"""From the path or the name of a study file to its StudySpec, or to an error that shows the line at fault."""

from __future__ import annotations

import ast
import builtins
import difflib
import importlib
import importlib.util
import inspect
import linecache
import re
import reprlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from hpo.errors import QUITS, Refused, asks_to_stop
from hpo.files import check_encoding
from hpo.plain import nearest
from hpo.study import StudySpec


def load_study(name: str | Path) -> StudySpec:
    """The value `study` of a study file, which is given by its path or by its name in ./studies.

    Raises Refused with file, line and cause where there is no such file, or where it does not assign a study.
    """
    path = find_study(str(name)).resolve()
    check_encoding("the study file", path)
    try:
        with _own_words(path):
            module = _import(path)
    except (Exception, *QUITS) as error:
        if asks_to_stop(error):
            raise
        raise Refused(_located(error, path)) from error
    study = getattr(module, "study", None)
    if not isinstance(study, StudySpec):
        raise Refused(_no_study(path, vars(module)))
    return study


def _no_study(path: Path, names: Mapping[str, object]) -> str:
    """What a file that assigns no study does instead, with the line where it assigns another value."""
    lines = [
        node.lineno
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "study" for target in node.targets)
    ]
    place = f"{path}:{lines[-1]}" if lines else str(path)
    others = [name for name, value in names.items() if isinstance(value, StudySpec)]
    hint = f"; of {', '.join(others)}, call one `study`" if others else ""
    return f"{place}: must assign `study = StudySpec(...)`; got study = {reprlib.repr(names.get('study'))}{hint}"


def find_study(name: str) -> Path:
    """The study file of that path or name. Raises Refused where there is none."""
    for path in (Path(name), Path(f"{name}.py"), Path("studies") / f"{name}.py"):
        if path.suffix == ".py" and path.is_file():
            return path
    folder = _studies_folder()
    known = sorted(path.stem for path in folder.glob("[!_]*.py")) if folder else []
    if folder and name in known:
        return folder / f"{name}.py"
    close = difflib.get_close_matches(Path(name).stem, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"studies there are: {', '.join(known) or 'none'}"
    raise Refused(f"no study {name!r}: neither a file nor a name in {folder or Path('studies').resolve()}; {hint}")


def _studies_folder() -> Path | None:
    """./studies, or else the folder that `import studies` finds."""
    if Path("studies").is_dir():
        return Path("studies").resolve()
    spec = importlib.util.find_spec("studies")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


@contextmanager
def _own_words(path: Path) -> Iterator[None]:
    """A study file that parses the command line is given none: the words are those of hpo, or of a notebook."""
    before = sys.argv
    sys.argv = [str(path)]
    try:
        yield
    finally:
        sys.argv = before


def _import(path: Path) -> ModuleType:
    """Import a file under a name that a worker process can import too. Raises Refused where it has none."""
    if "." in path.stem:
        plain_name = path.stem.replace(".", "_")
        raise Refused(f"Python cannot import a file with a dot in its name; rename it to {plain_name}.py")
    root, name = module_name(path)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    module = importlib.import_module(name)
    if Path(module.__file__ or "").resolve() != path:
        raise ImportError(f"another module is called {name!r} ({module.__file__}); rename {path.name}")
    return module


def module_name(path: Path) -> tuple[Path, str]:
    """The folder to import from, and the dotted name: studies/ris.py is `studies.ris` from the folder above."""
    if path.parent.name == "studies":
        return path.parent.parent, f"studies.{path.stem}"
    return path.parent, path.stem


def _located(error: BaseException, path: Path) -> str:
    """The message, after the line of the study file that it happened in."""
    message = _message(error)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    line = lines[-1] if lines else None
    if line is None:
        return f"{path}: {message}"
    return f"{path}:{line}: {linecache.getline(str(path), line).strip()}\n  {message}"


def _message(error: BaseException) -> str:
    if isinstance(error, QUITS):
        return (
            f"{type(error).__name__}: a study file is imported, by hpo and by its workers, and must not end the process"
        )
    if not isinstance(error, Exception) or isinstance(error, ValueError):
        return str(error)
    return f"{type(error).__name__}: {error}{_nearest(error)}"


def _nearest(error: Exception) -> str:
    """A clause with the known name that is nearest to the one at fault; where none is near, all fields of a value."""
    name = _unknown_name(error)
    if name is None:
        return ""
    if isinstance(error, TypeError):
        return nearest(name, _fields(error))
    close = difflib.get_close_matches(name, _known_names(error), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _unknown_name(error: Exception) -> str | None:
    lazy = _lazy_attribute(error)
    if lazy:
        return lazy[2]
    match = re.search(r"(?:name|keyword argument|attribute) '(\w+)'", str(error))
    return match[1] if match else None


def _lazy_attribute(error: Exception) -> re.Match[str] | None:
    """The module and the name in lazy_loader's message; its errors have no `obj`."""
    return re.fullmatch(r"No (\S+) attribute (\w+)", str(error))


def _known_names(error: Exception) -> list[str]:
    """What could have stood where a name was not known."""
    if isinstance(error, ImportError):
        return dir(sys.modules.get(error.name or "", None))
    if isinstance(error, AttributeError):
        lazy = _lazy_attribute(error)
        return dir(sys.modules.get(lazy[1], None) if lazy else error.obj)
    return [*_frame_globals(error)[-1], *dir(builtins)]


def _fields(error: TypeError) -> list[str]:
    """The parameters of what was called with one that it does not have."""
    name = str(error).partition(".")[0]
    called = next((names[name] for names in reversed(_frame_globals(error)) if callable(names.get(name))), None)
    return list(inspect.signature(called).parameters) if called else []


def _frame_globals(error: Exception) -> list[dict[str, Any]]:
    return [frame.f_globals for frame, _ in traceback.walk_tb(error.__traceback__)]
