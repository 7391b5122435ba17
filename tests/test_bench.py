"""The page of `make bench`, and the checks for a GPU, which run on the CPU here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.gpu import __main__ as gpu
from tests.benchmarks.gpu import precision
from tests.benchmarks.measured import Measured, Row
from tests.benchmarks.page.kept import Kept, measured_now, read, write
from tests.benchmarks.page.markdown import BEGIN, END, page, with_table

TITLES = {"startup": "How long one waits", "memory": "Memory"}


def measured(value: str = "2.9") -> Kept:
    rows = (Row("seconds | first epoch", value, "3.0", "first epoch"), Row("seconds of --help", "0.1"))
    return measured_now(lambda: Measured(rows, "Once."))


def test_the_page_has_each_part_or_says_that_it_was_not_measured() -> None:
    text = page({"startup": measured()}, TITLES)
    assert "| seconds \\| first epoch | 2.9 | 3.0 |" in text
    assert "Not measured yet: `python -m tests.benchmarks.page memory`" in text


def test_the_table_of_the_readme_has_the_short_rows_and_nothing_beside_it_changes() -> None:
    readme = f"# hpo\n{BEGIN}\nold\n{END}\nafter\n"
    made = with_table(readme, {"startup": measured()})
    assert (
        made
        == f"# hpo\n{BEGIN}\n|  | measured | goal |\n| --- | --- | --- |\n| first epoch | 2.9 | 3.0 |\n{END}\nafter\n"
    )
    assert with_table("no marks", {"startup": measured()}) == "no marks"


def test_a_part_that_fails_says_why_and_replaces_no_measurement(tmp_path: Path) -> None:
    def fail() -> Measured:
        raise OSError("no tables here")

    failed, kept = measured_now(fail), tmp_path / "bench.json"
    write(kept, "startup", failed)
    assert "Could not be measured" in page(read(kept), TITLES)
    write(kept, "startup", measured())
    write(kept, "startup", failed)
    assert read(kept)["startup"].rows[0].measured == "2.9"


def test_a_gpu_check_ends_with_1_on_a_wrong_result(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert gpu.run_here("precision", "cpu") == 0
    assert "WRONG" not in capsys.readouterr().out
    monkeypatch.setattr(precision, "LEAST", 2 * precision.LEAST)
    assert gpu.run_here("precision", "cpu") == 1
    assert "WRONG" in capsys.readouterr().out


def test_a_gpu_check_that_takes_too_long_is_no_answer() -> None:
    ended = gpu.run_apart("precision", "cpu", 0.0)
    assert ended.code == 2
    assert gpu.verdict({0, ended.code}) != gpu.verdict({0})
    assert gpu.ended_late("precision", 1.0, ["WRONG       x"], "ended").code == 1
