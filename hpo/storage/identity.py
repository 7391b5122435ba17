"""What the trials of a study rest on: each part of its identity in detail, and the difference of two identities.

The details of a part are kept once, in a file that is named after the part's hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from optuna.distributions import json_to_distribution

from hpo.code.closure import ORDER
from hpo.files import write_json
from hpo.formatting import first_lines, first_words
from hpo.space import Distribution, contains, extremes
from hpo.storage.folder import RunFolder

RECORDED = ("packages",)  # parts that may change: it is said, and not refused
SHOWN = 6  # differences of one part
Details = Mapping[str, Any]  # of each part that has any


def differing_parts(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The parts of two identities that are not the same, without those that may change."""
    return sorted(part for part in {*before, *now} - {*RECORDED} if before.get(part) != now.get(part))


def keep_details(folder: RunFolder, identity: Mapping[str, str], details: Details) -> None:
    """Keep the details of an identity in the study's folder."""
    for part in identity.keys() & details.keys():
        path = folder.identity / f"{part}-{identity[part]}.json"
        if not path.exists():
            write_json(path, details[part])


def kept_details(folder: RunFolder, part: str, digest: str | None) -> Any:
    """The details of a part that had this hash; None where they were not kept."""
    try:
        return json.loads((folder.identity / f"{part}-{digest}.json").read_bytes())
    except (OSError, ValueError):
        return None


def differences(folder: RunFolder, before: Mapping[str, str], now: Mapping[str, str], details: Details) -> list[str]:
    """What differs, a line each: "code: net.py: function net changed". `details` are those of `now`."""
    return [
        f"{part}: {line}"
        for part in differing_parts(before, now)
        for line in part_differences(folder, part, before, now, details)
    ]


def part_differences(
    folder: RunFolder, part: str, before: Mapping[str, str], now: Mapping[str, str], details: Details
) -> list[str]:
    """What differs in one part, by name; the two hashes where no more is known."""
    old, new = kept_details(folder, part, before.get(part)), details.get(part)
    lines = [] if old is None or new is None else list(_difference(part, old, new))
    return first_lines(lines, SHOWN) or [f"{before.get(part)} there, {now.get(part)} now"]


def package_note(folder: RunFolder, before: Mapping[str, str], details: Details) -> str:
    """A line about the packages that have another version than when the study began; empty where there is none."""
    old, new = kept_details(folder, "packages", before.get("packages")) or {}, details.get("packages", {})
    moved = [f"{name} was {old[name]} and is {new[name]}" for name in sorted({*old} & {*new}) if old[name] != new[name]]
    return f"since the study began: {', '.join(moved)}; each trial records its own" if moved else ""


def _difference(part: str, old: Any, new: Any) -> Iterator[str]:
    if part == "code":
        return code_difference(old, new)
    if part == "space":
        return _space_difference(old, new)
    return _value_difference(part, old, new)


def code_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Which files differ, and which functions, classes and constants in them. The file of the task may have another
    name."""
    old_files, new_files = dict(old["files"]), new["files"]
    if old["root"] != new["root"] and old["root"] in old_files and new["root"] not in old_files:
        old_files[new["root"]] = old_files.pop(old["root"])
    for file in sorted({*old_files, *new_files}):
        if file not in new_files:
            yield f"{file} is not imported any more"
        elif file not in old_files:
            yield f"{file} was not imported before"
        elif old_files[file] != new_files[file]:
            yield f"{file}: {_changed_names(old_files[file], new_files[file])}"


def _changed_names(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    changed = [
        *(f"{name} changed" for name in sorted(old.keys() & new.keys()) if old[name] != new[name] and name != ORDER),
        *(f"{name} is new" for name in sorted(new.keys() - old.keys())),
        *(f"{name} is gone" for name in sorted(old.keys() - new.keys())),
    ]
    if not changed:
        return f"{ORDER} changed"
    return first_words(changed, SHOWN)


def _space_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if name not in new:
            yield f"{name} is not searched any more; it was {old[name]['text']}"
        elif name not in old:
            yield f"{name} was not searched before; it is {new[name]['text']}"
        elif old[name] != new[name]:
            yield f"{name} {_range_change(old[name], new[name])}: {old[name]['text']} there, {new[name]['text']} now"


def _range_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    before = cast(Distribution, json_to_distribution(old["distribution"]))
    now = cast(Distribution, json_to_distribution(new["distribution"]))
    kinds = {entry["text"].partition("(")[0] for entry in (old, new)}
    if len(kinds) > 1 or before == now:
        return "is searched otherwise"
    if all(contains(now, value) for value in extremes(before)):
        return "has a wider range"
    if all(contains(before, value) for value in extremes(now)):
        return "has a narrower range"
    return "has another range"


def _value_difference(part: str, old: Any, new: Any) -> Iterator[str]:
    before, now = dict(_fields(part, old)), dict(_fields(part, new))
    for name in sorted({*before, *now}):
        if name not in now:
            yield f"{name} is gone; it was {before[name]!r}"
        elif name not in before:
            yield f"{name} is new: {now[name]!r}"
        elif before[name] != now[name]:
            yield f"{name} was {before[name]!r} there, and is {now[name]!r} now"


def _fields(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values in a nested mapping, by their full names."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, item in value.items():
        yield from _fields(f"{name}.{key}", item)
