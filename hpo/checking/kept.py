"""The verdict of a preflight that is kept in the study's folder: what a sweep asks for before it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from hpo.errors import Refused
from hpo.files import write_json
from hpo.storage.folder import RunFolder
from hpo.storage.identity import Details, differences, differing_parts


def require_go(
    folder: RunFolder, identity: Mapping[str, str], command: str, details: Details = MappingProxyType({})
) -> None:
    """Raise Refused unless the study's folder holds the verdict of a preflight of this identity, and it is not no-go.

    `command` is what the message tells the user to run.
    """
    if not folder.preflight.exists():
        raise Refused(f"no preflight has been run for this study in {folder.path}; run: {command}")
    try:
        verdict = json.loads(folder.preflight.read_text())
    except json.JSONDecodeError as error:
        raise Refused(f"{folder.preflight} is damaged ({error}); run: {command}") from error
    before = {part: verdict["identity"].get(part) for part in identity}
    changed = differing_parts(before, identity)
    if changed:
        lines = "; ".join(differences(folder, before, identity, details))
        raise Refused(f"the preflight is stale: {', '.join(changed)} changed since ({lines}); run: {command}")
    if verdict["status"] == "no-go":
        failed = ", ".join(check["name"] for check in verdict["checks"] if check["status"] == "no-go")
        raise Refused(f"the preflight said no-go ({failed}); fix that, then run: {command}")


def record_force(folder: RunFolder) -> None:
    """Note in the kept verdict that a sweep was run in spite of it."""
    if folder.preflight.exists():
        write_json(folder.preflight, {**json.loads(folder.preflight.read_text()), "forced": True})
