"""A file is whole or it is not there, whatever is done to the process or to the file."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hpo.engine import checkpoint
from hpo.files import write_json, write_whole


def state(epoch: int) -> dict:
    return {"epoch": epoch, "weights": torch.full((40, 5), float(epoch)), "record": [{"loss": 0.5}] * epoch}


def fill(folder: Path, epochs: int) -> None:
    for epoch in range(epochs):
        checkpoint.save(folder, epoch, state(epoch))


def names(folder: Path) -> list[str]:
    return sorted(path.name[:12] for path in folder.iterdir())


def in_child(act: Callable[[], None]) -> int:
    """Run `act` in a forked process; returns its id."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    return pid


def test_what_is_saved_is_what_is_loaded_and_two_are_kept(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None
    fill(tmp_path, 5)
    assert names(tmp_path) == ["epoch-000003", "epoch-000004"]
    loaded = checkpoint.newest(tmp_path)
    assert loaded["epoch"] == 4
    assert torch.equal(loaded["weights"], state(4)["weights"])
    checkpoint.discard(tmp_path)
    assert names(tmp_path) == []


def test_the_newest_is_the_one_with_the_highest_epoch(tmp_path: Path) -> None:
    for epoch in (8, 9, 10, 99, 100):
        checkpoint.save(tmp_path, epoch, state(epoch))
    assert checkpoint.newest(tmp_path)["epoch"] == 100


def test_a_flipped_bit_anywhere_is_noticed_and_the_one_before_is_loaded(tmp_path: Path) -> None:
    """300 single-bit flips over the whole file: the tensor's bytes, where torch.load notices nothing, the pickle and
    the archive's directory."""
    fill(tmp_path, 3)
    newest = max(tmp_path.iterdir())
    whole = newest.read_bytes()
    rng = random.Random(0)
    offsets = [0, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(298))]
    for offset in offsets:
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << rng.randrange(8)
        newest.write_bytes(damaged)
        assert checkpoint.newest(tmp_path)["epoch"] == 1
    newest.write_bytes(whole)
    assert checkpoint.newest(tmp_path)["epoch"] == 2


def test_a_file_cut_off_anywhere_is_noticed_and_the_one_before_is_loaded(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    newest = max(tmp_path.iterdir())
    whole = newest.read_bytes()
    for length in [0, 1, len(whole) // 2, len(whole) - 1, *random.Random(0).sample(range(len(whole)), 50)]:
        newest.write_bytes(whole[:length])
        assert checkpoint.newest(tmp_path)["epoch"] == 1
    newest.write_bytes(whole + b"\0")
    assert checkpoint.newest(tmp_path)["epoch"] == 1


def test_two_checkpoints_swapped_are_noticed(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    one, two = sorted(tmp_path.iterdir())
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert checkpoint.newest(tmp_path) is None


def test_with_all_damaged_the_run_starts_anew_and_what_it_then_saves_is_kept(tmp_path: Path) -> None:
    """The damaged files are of later epochs: "keep the newest two" by epoch would throw the new one away."""
    fill(tmp_path, 5)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert checkpoint.newest(tmp_path) is None
    checkpoint.save(tmp_path, 0, state(0))
    assert checkpoint.newest(tmp_path)["epoch"] == 0
    checkpoint.save(tmp_path, 1, state(1))
    assert names(tmp_path) == ["epoch-000000", "epoch-000001"]


def test_an_epoch_saved_again_after_damage_still_has_a_good_one_before_it(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    damaged = max(tmp_path.iterdir())
    damaged.write_bytes(b"")
    again = checkpoint.save(tmp_path, 2, state(2) | {"seconds": 1.5})
    assert names(tmp_path) == ["epoch-000001", "epoch-000002"]
    again.write_bytes(b"")
    assert checkpoint.newest(tmp_path)["epoch"] == 1


def test_other_files_in_the_folder_are_neither_loaded_nor_removed(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("epoch-1.pt", "epoch-000009-x.pt", "result.json", "epoch-notes.pt")]
    for other in others:
        other.write_bytes(b"mine")
    fill(tmp_path, 3)
    checkpoint.discard(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(others)


class Payload:
    """Unpickling this runs a command: the classic attack."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def test_a_checkpoint_cannot_run_code_though_its_checksum_holds(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    buffer = io.BytesIO()
    torch.save({"record": Payload(marker)}, buffer)
    content = buffer.getvalue()
    name = f"epoch-000000-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        checkpoint.newest(tmp_path)
    assert not marker.exists()
    torch.load(tmp_path / name, weights_only=False)
    assert marker.exists(), "the payload would have worked"


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    """20 SIGKILLs at random moments of a process that does nothing but rewrite one file."""
    path, rng = tmp_path / "file", random.Random(1)
    write_whole(path, bytes(300_000))

    def rewrite() -> None:
        for number in range(1, 10**9):
            write_whole(path, bytes([number % 256]) * 300_000)

    seen = set()
    for _ in range(20):
        pid = in_child(rewrite)
        time.sleep(rng.uniform(0.02, 0.15))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        content = path.read_bytes()
        assert len(content) == 300_000
        assert len(set(content)) == 1
        seen.add(content[0])
    assert len(seen) > 3, "the writer was at work"
    assert all(left == path or left.name.endswith(".tmp") for left in tmp_path.iterdir())
    checkpoint.discard(tmp_path)
    assert list(tmp_path.iterdir()) == [path], "what killed writers left behind is swept"


def test_a_write_that_fails_halfway_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """A real failure in the middle of write(2): the process may not make files above 64 kB."""
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
        try:
            write_whole(path, bytes(2**20))
        except OSError:
            os._exit(7)

    _, status = os.waitpid(in_child(fail), 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_synced_before_it_is_renamed_and_the_folder_after(tmp_path: Path, monkeypatch) -> None:
    """Power loss cannot be had in a test; the order of the real calls can be watched."""
    calls = []

    def watch(name: str) -> None:
        real = getattr(os, name)

        def called(*args, **kwargs):
            target = os.readlink(f"/proc/self/fd/{args[0]}") if name == "fsync" else str(args[1])
            calls.append((name, "folder" if target == str(tmp_path) else Path(target).suffix))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, called)

    watch("fsync")
    watch("replace")
    write_whole(tmp_path / "file.pt", b"content")
    assert calls == [("fsync", ".tmp"), ("replace", ".pt"), ("fsync", "folder")]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_json_that_would_be_no_json_is_refused_and_the_old_file_stays(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"value": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": bad})
    assert json.loads(path.read_text()) == {"value": 1.5}
