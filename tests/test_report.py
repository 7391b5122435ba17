"""The page in a real browser: it asks for nothing, complains of nothing, and can be read and sorted at every stage."""

from __future__ import annotations

import base64
import gzip
import json
import math
import os
import random
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo.direction import Direction
from hpo.page import draw_promotion, figures, palette, report
from hpo.page.axes import Axis, Scale, axis_of, log_ticks
from hpo.page.collect import collect
from hpo.page.palette import COLOURS
from hpo.page.report import write_report
from hpo.promotion.intervals import Interval
from hpo.space import choose, distribution_of, integer, log, uniform, when
from hpo.storage.database import open_storage
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from tests.finished import HOSTILE, STUDY, finished
from tests.toy import toy_study

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """The system's Chromium; where it is missing, what it would have shown stays unproved, and the skip says so."""
    playwright = pytest.importorskip("playwright.sync_api", reason="REPORT NOT OPENED IN A BROWSER: no playwright")
    where = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if where is None:
        pytest.skip("REPORT NOT OPENED IN A BROWSER: no Chromium on this machine")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=where, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium) -> Iterator:
    """Open a page and wait until it is drawn. Gives the tab, its requests and its complaints."""
    contexts = []

    def opened(path: Path, *, width: int = 1280, scheme: str = "light") -> SimpleNamespace:
        contexts.append(chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
        tab, requests, complaints = contexts[-1].new_page(), [], []
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(path.as_uri(), timeout=120_000)
        tab.wait_for_selector(f"html[data-drawn={scheme}]", state="attached", timeout=120_000)
        return SimpleNamespace(tab=tab, requests=requests, complaints=complaints)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return finished(tmp_path)


class Words(HTMLParser):
    """The text of a page, without scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts, self.silent = [], 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.silent += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.texts.append(data)

    @classmethod
    def of(cls, path: Path) -> str:
        return " ".join(" ".join(cls(path.read_text()).texts).split())


def stored(folder: RunFolder, study: StudySpec, trials: list[optuna.trial.FrozenTrial]) -> RunFolder:
    folder.path.mkdir()
    storage = open_storage(folder.storage, create=True)
    optuna.create_study(study_name=study.name, storage=storage, direction=study.task.direction).add_trials(trials)
    return folder


# -- in a browser ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_it_asks_for_nothing_and_complains_of_nothing(folder: RunFolder, browse, width: int, scheme: str) -> None:
    page = browse(write_report(STUDY, folder), width=width, scheme=scheme)
    assert page.requests == [folder.report.as_uri()]
    assert page.complaints == []
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width  # tables scroll in boxes of their own
    figures = page.tab.locator(".plot")
    assert figures.count() >= 12
    assert page.tab.locator(".plot .main-svg").count() >= figures.count()
    assert page.tab.evaluate("window.owned") is None


def test_the_policy_forbids_the_network(folder: RunFolder, browse) -> None:
    tab = browse(write_report(STUDY, folder)).tab
    stopped_by = """new Promise((answer) => {
        document.addEventListener("securitypolicyviolation", (event) => answer(event.effectiveDirective));
        fetch("http://localhost:9/").catch(() => setTimeout(answer, 2000, "nothing"));
    })"""
    assert tab.evaluate(stopped_by) == "connect-src"


def test_figures_follow_the_readers_scheme(folder: RunFolder, browse) -> None:
    tab = browse(write_report(STUDY, folder)).tab
    text = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    light = tab.evaluate(text)
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_selector("html[data-drawn=dark]", state="attached")
    assert [light, tab.evaluate(text)] == [rgb(one) for one in COLOURS["soft"]]
    tab.emulate_media(media="print", color_scheme="dark")  # paper is white, whatever the screen was
    assert tab.evaluate("getComputedStyle(document.body).color") == rgb(COLOURS["ink"].light)


def test_a_mark_says_in_the_page_what_it_says_in_the_figure(folder: RunFolder, browse) -> None:
    """In the page a text that several marks share stands once."""
    drawn = browse(write_report(STUDY, folder)).tab.evaluate("""Object.fromEntries(
        [...document.querySelectorAll(".plot")].map((plot) => [
            plot.closest("figure").querySelector("h3").textContent,
            plot.data.map((trace) => [trace.text ?? null, trace.hovertext ?? null])]))""")
    made = [drawing for drawing in figures._drawings(collect(STUDY, folder)) if drawing and drawing.title in drawn]
    assert len(made) >= 8
    for drawing in made:
        traces = json.loads(drawing.figure.to_json())["data"]
        assert drawn[drawing.title] == [[trace.get("text"), trace.get("hovertext")] for trace in traces]


def test_a_browser_that_cannot_unpack_plotly_says_so_and_keeps_its_tables(folder: RunFolder, chromium) -> None:
    context = chromium.new_context()
    context.add_init_script("delete window.DecompressionStream")
    tab = context.new_page()
    tab.goto(write_report(STUDY, folder).as_uri())
    tab.get_by_text("The figures need a browser of 2023 or later").wait_for(state="visible")
    tab.locator("#trials th button", has_text="mse").click()
    assert tab.locator("#trials th", has_text="mse").get_attribute("aria-sort") == "ascending"
    context.close()


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


def test_the_trials_can_be_sorted_with_the_keyboard(folder: RunFolder, browse) -> None:
    tab = browse(write_report(STUDY, folder)).tab
    header = tab.locator("#trials th", has_text="mse")
    cells = "[...document.querySelectorAll('#trials tbody tr')].map(row => row.cells[1].dataset.value)"

    def shown() -> list[float]:
        values = tab.evaluate(cells)
        assert values[-1] == ""  # the failed trial has no score, and stays at the end either way
        return [float(value) for value in values[:-1]]

    header.locator("button").focus()
    tab.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    ascending = shown()
    assert ascending == sorted(ascending)
    tab.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert shown() == ascending[::-1]
    assert tab.locator("#trials th[aria-sort]").count() == 1

    tab.locator("#trials th", has_text="State").locator("button").click()
    states = tab.evaluate("[...document.querySelectorAll('#trials tbody tr')].map(row => row.cells[2].dataset.value)")
    assert states == sorted(states)
    assert {"complete", "failed", "pruned"} >= set(states) > {"complete"}


def test_on_a_phone_what_decides_is_seen_without_scrolling_sideways(folder: RunFolder, browse) -> None:
    tab = browse(write_report(STUDY, folder), width=390).tab

    def right_edge(section: str, column: int) -> float:
        cell = f"#{section} tbody tr:nth-child(2) > :nth-child({column})"
        tab.locator(cell).first.scroll_into_view_if_needed()
        return tab.evaluate(f"document.querySelector('{cell}').getBoundingClientRect().right")

    heads = tab.locator("#trials th").all_inner_texts()
    assert [head.split()[0] for head in heads[:6]] == ["Trial", "mse", "State", "Epochs", "Time", "Reason"]
    assert right_edge("trials", 5) <= 390, "number, score, state, epochs and time"
    assert tab.locator("#promotion th").nth(2).inner_text() == "Lead over default"
    assert right_edge("promotion", 3) <= 390, "name, test score and lead"


def test_the_links_to_the_sections_stay_in_sight(folder: RunFolder, browse) -> None:
    tab = browse(write_report(STUDY, folder)).tab
    where = "document.querySelector('nav').getBoundingClientRect().top"
    assert tab.evaluate(where) == 0, "on the first screen"
    tab.evaluate("document.getElementById('provenance').scrollIntoView()")
    tab.wait_for_function("scrollY > 1000")
    assert tab.evaluate(where) == 0
    assert tab.locator("nav a", has_text="Trials").is_visible()


def test_no_box_of_the_promotion_is_half_empty(folder: RunFolder, browse) -> None:
    """A figure's box ends where its drawing ends, however tall its neighbour is."""
    tab = browse(write_report(STUDY, folder)).tab
    rests = tab.evaluate(
        """[...document.querySelectorAll('#promotion figure.chart')].map((box) =>
            box.getBoundingClientRect().bottom - box.querySelector('.plot').getBoundingClientRect().bottom)"""
    )
    assert len(rests) >= 3
    assert max(rests) < 40


def rich_study() -> StudySpec:
    space = {
        "recipe.lr": log(1e-3, 0.3),
        "recipe.batch_size": integer(8, 32, step=8),
        "recipe.channels_last": choose(False, True),
        "recipe.precision": choose("fp32", "bf16"),
        "task.shift": when("recipe.channels_last", True, uniform(-1, 1)),
    }
    return toy_study(name="rich", space=space)


def rich_trials() -> list[optuna.trial.FrozenTrial]:
    """Every kind of parameter, a condition, values over five decades, and every state."""
    plain = {name: distribution_of(entry) for name, entry in rich_study().space.items()}
    states = (TrialState.COMPLETE,) * 4 + (TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)
    trials = []
    for index in range(24):
        state, on = states[index % 8], bool(index % 2)
        params = {
            "recipe.lr": 1e-3 * 1.2**index,
            "recipe.batch_size": 8 * (1 + index % 4),
            "recipe.channels_last": on,
            "recipe.precision": "bf16",
        }
        params |= {"task.shift": 0.1} if on else {}
        curve = {} if state is TrialState.WAITING else {0: 1e3, 1: 10.0 ** (2 - index % 5)}
        trials.append(
            create_trial(
                state=state,
                params={} if state is TrialState.WAITING else params,
                distributions={} if state is TrialState.WAITING else {name: plain[name] for name in params},
                value=curve[1] if state is TrialState.COMPLETE else None,
                intermediate_values=curve,
                user_attrs={"epochs": 2, "best_epoch": 1, "seconds": 60.0 * index, "reason": HOSTILE},
            )
        )
    return trials


STAGES = {
    "no sweep": [],
    "one trial": [
        create_trial(
            value=1.0,
            params=STUDY.defaults(),
            intermediate_values={0: 1.0},
            distributions={name: distribution_of(one) for name, one in STUDY.space.items()},
        )
    ],
    "only pruned": [
        create_trial(
            state=TrialState.PRUNED,
            params=STUDY.defaults(),
            intermediate_values={0: float(n)},
            distributions={name: distribution_of(one) for name, one in STUDY.space.items()},
        )
        for n in range(3)
    ],
    "every kind": rich_trials(),
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_page(tmp_path: Path, browse, stage: str) -> None:
    study = rich_study() if stage == "every kind" else STUDY
    page = browse(write_report(study, stored(RunFolder(tmp_path / "run"), study, STAGES[stage])), width=375)
    assert (page.requests, page.complaints) == ([(tmp_path / "run" / "report.html").as_uri()], [])
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.tab.evaluate("window.owned") is None
    assert f"hpo promote {study.name}" in page.tab.locator(".next").inner_text()
    assert page.tab.locator("#promotion").count() == 0


# -- as text ---------------------------------------------------------------------------------------------------------
def test_it_says_what_came_out_and_nothing_that_is_no_number(folder: RunFolder) -> None:
    text = Words.of(write_report(STUDY, folder))
    verdict = json.loads((folder.path / "verdict.json").read_text())
    assert verdict["claim"] in text
    for word in ("NaN", "nan", "None", "Infinity", "undefined"):
        assert word not in text.split(), word
    assert "beats zero" in text  # the task's own check
    assert "The sweep was forced past this preflight." in text
    assert str(folder.export) in text


def test_the_top_says_the_verdict_first_and_the_leader_is_told_from_what_was_exported(folder: RunFolder) -> None:
    text = Words.of(write_report(STUDY, folder))
    verdict = json.loads((folder.path / "verdict.json").read_text())
    assert (verdict["winner"], verdict["leader"]) == ("default", verdict["results"][1]["candidate"]["name"])
    assert (
        text.index(verdict["claim"])
        < text.index("What to do next")
        < text.index("On test: default (exported)")
        < text.index("What it cost")
        < text.index("Does cheap rank like full?")
        < text.index("What this rests on")
        < text.index("Intervals are 95 %")
    )
    assert f"{verdict['leader']} leader" in text, "in the table"
    assert "The first row was exported." in text


def test_it_says_how_the_best_cheap_score_flatters_and_what_repeats_say_of_noise(tmp_path: Path) -> None:
    """Two configurations, tried three times and twice: 0.1 is sqrt((0.02 + 0.01) / 3)."""
    values = {0.1: [0.4, 0.5, 0.6], 0.2: [0.3, 0.3 + math.sqrt(0.02)]}
    trials = [
        create_trial(
            value=value,
            params={"recipe.lr": 0.1, "task.shift": shift},
            distributions={name: distribution_of(entry) for name, entry in STUDY.space.items()},
        )
        for shift, draws in values.items()
        for value in draws
    ]
    text = Words.of(write_report(STUDY, stored(RunFolder(tmp_path / "run"), STUDY, trials)))
    assert "trial 3, on validation; best of 5 draws, optimistic" in text
    assert "2 configurations were tried more than once" in text
    assert "differ by a standard deviation of 0.1000" in text
    alone = Words.of(write_report(STUDY, stored(RunFolder(tmp_path / "alone"), STUDY, trials[:1])))
    assert "on validation; the only draw" in alone
    assert "tried more than once" not in alone


def scored(score: Callable[[float, float], float]) -> list[optuna.trial.FrozenTrial]:
    """24 trials whose scores follow from log10 of the rate, the shift, and noise of 0.1."""
    rng, drawn = random.Random(1), []
    for _ in range(24):
        power, shift = rng.uniform(-3, -0.6), rng.uniform(-1, 1)
        drawn.append(
            create_trial(
                value=1 + score(power, shift) + rng.gauss(0, 0.1),
                params={"recipe.lr": 10**power, "task.shift": shift},
                distributions={name: distribution_of(entry) for name, entry in STUDY.space.items()},
            )
        )
    return drawn


def test_a_flat_sweep_is_called_flat_at_the_top_and_no_measure_is_said_to_put_anything_first(tmp_path: Path) -> None:
    text = Words.of(write_report(STUDY, stored(RunFolder(tmp_path / "run"), STUDY, scored(lambda power, shift: 0.0))))
    assert "In the sweep nothing separates: its 24 trials do not tell the hyperparameters apart" in text
    assert "Nothing separates: these 24 trials" in text
    assert "Both put" not in text
    assert "which is no error" not in text
    assert text.index("Nothing separates") < text.index("fANOVA: ") < text.index("PED-ANOVA: ")


def test_what_separates_comes_first_and_the_top_does_not_speak_of_chance(tmp_path: Path) -> None:
    text = Words.of(write_report(STUDY, stored(RunFolder(tmp_path / "run"), STUDY, scored(lambda power, shift: shift))))
    assert "task.shift separates: " in text
    assert "These 24 trials do not tell recipe.lr from chance." in text
    assert "nothing separates" not in text.lower()
    assert text.index("task.shift separates") < text.index("Optuna's two measures") < text.index("fANOVA: ")


def test_what_comes_from_outside_is_text(folder: RunFolder) -> None:
    page = write_report(STUDY, folder).read_text()
    assert HOSTILE in Words.of(folder.report)
    assert HOSTILE not in page
    assert "<script>window.owned" not in page


def test_pictures_are_inside(folder: RunFolder) -> None:
    page = write_report(STUDY, folder).read_text()
    for png in sorted(folder.pictures.glob("*.png")):
        assert base64.b64encode(png.read_bytes()).decode() in page
    assert "dropped" not in Words.of(folder.report)  # a chart's own title: the page gives it one


def test_a_missing_picture_is_told(folder: RunFolder) -> None:
    for png in folder.pictures.glob("*.png"):
        png.unlink()
    assert "its images are missing" in Words.of(write_report(STUDY, folder))


def test_it_is_whole_or_as_it_was(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = write_report(STUDY, folder).read_bytes()

    def torn(source: object, target: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", torn)
    with pytest.raises(OSError, match="no space"):
        write_report(STUDY, folder)
    assert folder.report.read_bytes() == before
    assert not list(folder.path.glob(".report*"))


def test_plotly_is_in_it_once_and_the_page_is_small(folder: RunFolder) -> None:
    page = write_report(STUDY, folder).read_text()
    packed = page.split('<script type="text/plain" id="plotly">')[1].split("</script>")[0]
    assert gzip.decompress(base64.b64decode(packed)).decode() == report.get_plotlyjs()
    assert page.count(packed[:200]) == 1
    assert len(page) < 2_400_000


# -- axes ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 1100, [1, 10, 100, 1000]),
        (0.9, 110, [1, 3, 10, 30, 100]),
        (0.9, 21, [1, 2, 5, 10, 20]),
        (0.05, 200000, [0.1, 1, 10, 100, 1000, 1e4, 1e5][::2]),
    ],
)
def test_log_ticks_are_round_few_and_inside(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)


def test_a_few_bad_outliers_stay_outside_but_never_good_ones() -> None:
    values = [float(value) for value in range(-10, 10)]
    assert axis_of([*values, 5000.0], direction=Direction.MINIMIZE).outside == 1
    assert axis_of([*values, -5000.0], direction=Direction.MINIMIZE).outside == 0
    assert axis_of([*values, -5000.0], direction=Direction.MAXIMIZE).outside == 1
    assert axis_of([*values, 5000.0], direction=Direction.MINIMIZE, whole=True).outside == 0


def test_decades_make_a_logarithmic_axis() -> None:
    axis = axis_of([1e-4, 1.0])
    assert axis.log
    assert axis.share(1e-2) == pytest.approx(0.5)
    assert not axis_of([-1.0, 1000.0]).log
    assert axis_of([2.0, 2.0]).low < 2.0 < axis_of([2.0, 2.0]).high
    assert axis_of([]) == Axis(0.0, 1.0)


def test_every_kind_of_parameter_has_its_place() -> None:
    assert Scale("lr", log(1e-4, 1.0)).position(1e-2) == pytest.approx(0.5)
    assert Scale("width", integer(8, 32, step=8)).ticks() == {0: "8", 1 / 3: "16", 2 / 3: "24", 1: "32"}
    assert Scale("kind", choose("a", "b", "c")).ticks() == {0: "a", 0.5: "b", 1: "c"}
    assert Scale("one", choose("a")).position("a") == 0.0
    ticks = Scale("x", log(3e-4, 6e-3)).ticks(4)
    assert (ticks[0.0], ticks[1.0]) == ("0.0003", "0.006")
    at = sorted(ticks)
    assert min(after - before for before, after in pairwise(at)) >= 0.2  # labels that touch cannot be read


def test_a_baseline_that_is_far_from_all_others_does_not_squeeze_them() -> None:
    rows = [
        draw_promotion.Row("trial 1", Interval(30.0, 29.5, 30.5), palette.COMPLETE),
        draw_promotion.Row("near", Interval(28.5, 28.0, 29.0), palette.BASELINE),
        draw_promotion.Row("far", Interval(5.0, 4.0, 6.0), palette.BASELINE),
    ]
    figure = draw_promotion._whiskers(rows, title="")
    assert figure.layout.xaxis.range[0] > 25
    assert [note.text for note in figure.layout.annotations] == ["30.00", "28.50", "◂ 5.0"]
    assert "far: 5.0 [4.0, 6.0]" in figure.layout.annotations[-1].hovertext
