"""The listening page: one file that holds all, heard and seen in a real browser."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vocoder.config import to_dict
from vocoder.evaluation.copies import ALL_MEASURES
from vocoder.evaluation.headline import headline
from vocoder.evaluation.page import PARTS, inline_audio, inline_json, read_part
from vocoder.evaluation.records import ORIGINAL, Evaluation, Measure, SystemOutput, Total, UtteranceRecord
from vocoder.evaluation.report import write_report

from conftest import tiny_mel_config  # isort: skip

pytest_plugins = ["browser"]

RATE = 8000
SECONDS = 1.0
HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
SPECTROGRAM = ".version .axes:not(.waveform)"
SYSTEMS = [ORIGINAL, "wavenet", "griffin-lim"]
MEASURES = [
    Measure("nll", "NLL", "bits/sample", "low", 2, "Of the model alone."),
    Measure("stft", "Distance", "dB", "low", 2, "How far."),
    Measure("pesq", "PESQ", "", "high", 2, "How well."),
    Measure("level", "Level", "dB", "zero", 1, "How loud."),
]


def tone(hertz: float, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(SECONDS * RATE)) / RATE)


def output(folder: Path, name: str, waveform: np.ndarray, loudness: float, **measures: float | None) -> SystemOutput:
    path = folder / "audio" / f"{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, RATE)
    return SystemOutput(f"audio/{name}.flac", measures, {}, [None, 200.0, 201.0, None] * 25, loudness)


@pytest.fixture
def long_utterances(monkeypatch: pytest.MonkeyPatch) -> None:
    """That do not end while a busy machine looks at the page."""
    monkeypatch.setattr(sys.modules[__name__], "SECONDS", 20.0)


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    """Two utterances; of the second, one system has no copy and another has no PESQ."""
    first = {
        ORIGINAL: output(tmp_path, "a0", tone(200), -20.0),
        "wavenet": output(tmp_path, "a1", tone(300, 0.25), -26.0, nll=5.0, stft=2.0, pesq=3.0, level=-6.0),
        "griffin-lim": output(tmp_path, "a2", tone(400), -20.0, stft=3.0, pesq=2.0, level=0.5),
    }
    second = {
        ORIGINAL: output(tmp_path, "b0", tone(500), -20.0),
        "wavenet": output(tmp_path, "b1", tone(600), -20.0, nll=6.0, stft=1.0, pesq=None, level=1.0),
        "griffin-lim": SystemOutput(None, problems={"audio": "there is no file."}),
    }
    second["wavenet"].problems["pesq"] = "no speech was found"
    totals = {
        ORIGINAL: {},
        "wavenet": {
            "nll": Total(5.5, 5.0, 6.0, 2, 0),
            "stft": Total(1.5, 1.0, 2.0, 2, 0),
            "pesq": Total(None, None, None, 0, 2),
            "level": Total(-2.5, -6.0, 1.0, 2, 0),
        },
        "griffin-lim": {
            "stft": Total(1.75, 1.5, 2.0, 2, 0),
            "pesq": Total(2.0, None, None, 1, 1),
            "level": Total(0.5, None, None, 1, 1),
        },
    }
    return Evaluation(
        facts={
            "model": "wavenet",
            "model_hash": "0123456789ab",
            "corpus": "tones",
            "part": "test",
            "seconds": None,
            "vocoder": "1.2.3",
            "left_out": {"c": "silent"},
        },
        sample_rate=RATE,
        f0_seconds=0.01,
        mel=to_dict(tiny_mel_config()) | {"n_fft": 256, "win_length": 256, "hop_length": 80},
        measures=MEASURES,
        systems=SYSTEMS,
        totals=totals,
        utterances=[UtteranceRecord("b/10", SECONDS, "ten", first), UtteranceRecord("b/9", SECONDS, HOSTILE, second)],
    )


@pytest.fixture
def opened(page: Any, tmp_path: Path, evaluation: Evaluation) -> Any:
    page.goto(write_report(tmp_path, evaluation).as_uri())
    page.wait_for_selector("figure")
    return page


def centre(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def position(page: Any) -> float:
    return float(page.inner_text("#time").split()[0])


def heard(page: Any) -> list[str]:
    return [text.split()[1] for text in page.locator("#systems [aria-pressed=true]").all_inner_texts()]


def wait_until(page: Any, condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        page.wait_for_timeout(20)
    pytest.fail("waited for twenty seconds")


def ids(page: Any) -> list[str]:
    return page.locator("#utterances tbody button").all_inner_texts()


def cells(page: Any, table: str, row: str) -> list[str]:
    found = page.locator(f"{table} tbody tr", has=page.locator("summary", has_text=row))
    return [" ".join(text.split()) for text in found.locator("td").all_inner_texts()]


# The file.


def test_the_page_needs_nothing_but_itself(tmp_path: Path, evaluation: Evaluation) -> None:
    page = write_report(tmp_path, evaluation)
    assert page == tmp_path / "report" / "index.html"
    code = re.sub(r'<script type="application/json".*?</script>', "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"\b(src|href)=|https?:|\bimport\b|\bfetch\(|url\(", code)
    assert [one.name for one in page.parent.iterdir()] == ["index.html"]


def test_the_page_holds_every_file_bit_for_bit(tmp_path: Path, evaluation: Evaluation) -> None:
    text = write_report(tmp_path, evaluation).read_text(encoding="utf-8")
    held = json.loads(re.search(r'id="utterance-0">(.*?)</script>', text).group(1))
    assert list(held) == SYSTEMS
    for system, one in held.items():
        path = tmp_path / evaluation.utterances[0].systems[system].audio
        assert base64.b64decode(one["audio"]) == path.read_bytes()
        assert inline_audio(path) == one["audio"]


def test_a_page_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, evaluation: Evaluation) -> None:
    before = write_report(tmp_path, evaluation).read_bytes()
    (tmp_path / "audio" / "b1.flac").unlink()
    with pytest.raises(FileNotFoundError, match=r"b1\.flac"):
        write_report(tmp_path, evaluation)
    assert (tmp_path / "report" / "index.html").read_bytes() == before


@pytest.mark.parametrize("text", [HOSTILE, "<!-- <script>", "a\u2028b\u2029c", "é ← 😐", '"\\n"'])
def test_json_stays_inside_its_element_and_means_the_same(text: str) -> None:
    written = inline_json({text: [text, 1.5, None]})
    assert json.loads(written) == {text: [text, 1.5, None]}
    assert not re.search("[<\u2028\u2029]", written)


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        inline_json([float("nan")])


def test_every_part_of_the_page_is_a_small_file_that_names_no_other_place() -> None:
    for part in PARTS.iterdir():
        text = read_part(part.name)
        assert len(text.splitlines()) < 500, part.name
        assert "http" not in text.replace("http-equiv", ""), part.name


# The page.


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_play_and_a_picture_are_on_the_first_screen(opened: Any, width: int, height: int) -> None:
    opened.set_viewport_size({"width": width, "height": height})
    for selector in ("#play", "#systems", "#overview .plot"):
        box = opened.locator(selector).bounding_box()
        assert box["y"] + box["height"] <= height
    assert opened.locator(f"{SPECTROGRAM} .plot").first.bounding_box()["y"] < 0.85 * height
    opened.mouse.click(*centre(opened, "#play"))  # where it is, without scrolling
    wait_until(opened, lambda: position(opened) > 0.1)
    assert opened.evaluate("scrollY") == 0


def test_the_keyboard_alone_plays_switches_and_opens(opened: Any) -> None:
    reached = []
    for _ in range(6):
        opened.keyboard.press("Tab")
        reached.append(opened.evaluate("document.activeElement.innerText.split(' ')[0]"))
    assert reached == ["↑", "↓", "Play", "1", "2", "3"]
    opened.keyboard.press("Enter")
    assert heard(opened) == ["griffin-lim"]
    opened.focus("#play")
    opened.keyboard.press("Enter")
    wait_until(opened, lambda: position(opened) > 0.1)
    opened.focus("#next")
    opened.keyboard.press("Enter")
    assert opened.inner_text("#utterance-id") == "b/9"


def test_the_head_says_what_was_found_and_of_which_model(opened: Any, evaluation: Evaluation) -> None:
    assert opened.inner_text("h1") == "wavenet"
    assert opened.inner_text("#headline") == headline(evaluation) != ""
    about = "2 utterances of tones (test), each copied from its mel · weights 0123456789ab · vocoder 1.2.3"
    assert opened.inner_text("#version") == about


def test_what_people_hear_is_measured_first_and_likelihood_last() -> None:
    keys = [measure.key for measure in ALL_MEASURES]
    assert keys[:4] == ["pesq_wb", "stoi", "f0_rmse_cents", "f0_median_cents"]
    assert keys[-3:] == ["nll_bits", "nll_nats", "yardstick_bits"]


def test_what_a_text_says_is_shown_and_never_run(opened: Any) -> None:
    opened.click("text=b/9")
    assert opened.inner_text("#utterance-text") == HOSTILE
    assert opened.title() == "wavenet: evaluation"
    assert opened.locator("img").count() == 0


def test_totals_show_means_intervals_and_the_best(opened: Any) -> None:
    assert opened.locator("#totals thead th").all_inner_texts() == ["wavenet", "griffin-lim"]
    assert cells(opened, "#totals", "NLL") == ["5.50 5.00 … 6.00", "–"]
    assert cells(opened, "#totals", "Distance") == ["★1.50 1.00 … 2.00", "1.75 1.50 … 2.00"]


def test_a_mean_over_fewer_utterances_is_not_called_the_best(opened: Any) -> None:
    assert cells(opened, "#totals", "Level") == ["−2.5 −6.0 … 1.0", "0.5 (1 n/a)"]


def test_a_total_that_is_not_there_says_why(opened: Any) -> None:
    assert cells(opened, "#totals", "PESQ") == ["n/a no speech was found", "2.00 (1 n/a)"]


def test_the_name_of_a_measure_opens_what_it_means(opened: Any) -> None:
    about = opened.locator("#totals .about", has_text="How far.")
    assert not about.is_visible()
    opened.locator("#totals summary", has_text="Distance").press("Enter")
    assert about.is_visible()


def test_facts_are_listed(opened: Any) -> None:
    facts = dict(zip(*(opened.locator(f"#facts {tag}").all_inner_texts() for tag in ("dt", "dd")), strict=True))
    assert facts["corpus"] == "tones"
    assert facts["left out"] == "c: silent"
    assert facts["seconds"] == "–"


def test_the_list_is_sorted_by_any_column_and_what_is_missing_comes_last(opened: Any) -> None:
    assert ids(opened) == ["b/10", "b/9"]
    opened.click("#utterances thead >> text=Utterance")
    assert ids(opened) == ["b/9", "b/10"]
    opened.select_option("#measure", "stft")
    for system, order in {"wavenet": ["b/9", "b/10"], "griffin-lim": ["b/10", "b/9"]}.items():
        head = opened.locator("#utterances thead button", has_text=system)
        head.press("Enter")
        assert ids(opened) == order
        assert opened.locator("#utterances th[aria-sort=ascending]").all_inner_texts() == [system]
        opened.keyboard.press("Enter")  # the head keeps the focus
        assert opened.locator("#utterances th[aria-sort=descending]").all_inner_texts() == [system]
        assert ids(opened) == ["b/10", "b/9"]


def test_an_utterance_without_a_copy_shows_and_plays_the_rest(opened: Any) -> None:
    opened.click("text=b/9")
    wait_until(opened, lambda: opened.locator("#pictures figure").count() == 3)  # two, and a difference
    assert opened.locator("#problems li").all_inner_texts() == [
        "wavenet, PESQ: no speech was found",
        "griffin-lim, copy: there is no file.",
    ]
    assert opened.locator("#systems button").nth(2).is_disabled()
    opened.keyboard.press("3")
    assert heard(opened) == [ORIGINAL]
    opened.click("text=Measures of this utterance")
    assert cells(opened, "#utterance-measures", "PESQ") == ["n/a"]
    opened.keyboard.press(" ")
    wait_until(opened, lambda: position(opened) > 0.1)


def test_an_evaluation_without_recordings_still_shows_its_copies(page: Any, tmp_path: Path, evaluation: Any) -> None:
    for one in evaluation.utterances:
        one.systems[ORIGINAL] = SystemOutput(None)
    page.goto(write_report(tmp_path, evaluation).as_uri())
    page.wait_for_selector("figure")
    assert page.locator("figcaption strong").all_inner_texts() == ["wavenet", "griffin-lim"]
    assert heard(page) == ["wavenet"]


def test_switching_the_system_keeps_the_position(opened: Any) -> None:
    opened.click("#play")
    wait_until(opened, lambda: position(opened) > 0.2)
    before, _ = position(opened), opened.keyboard.press("2")
    assert heard(opened) == ["wavenet"]
    opened.locator("#systems button").nth(2).click()
    assert heard(opened) == ["griffin-lim"]
    assert position(opened) >= before
    assert opened.inner_text("#play").startswith("Pause") or position(opened) == SECONDS  # a busy machine may be late


def test_it_stops_at_the_end_and_begins_anew(opened: Any) -> None:
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press(" ")
    wait_until(opened, lambda: opened.inner_text("#play").startswith("Play"))
    assert position(opened) == SECONDS
    opened.keyboard.press(" ")
    wait_until(opened, lambda: 0 < position(opened) < 0.9)


def test_keys_seek_by_half_a_second_and_a_twentieth(opened: Any) -> None:
    for key, place in {"ArrowRight": 0.5, "Shift+ArrowRight": 0.55, "Shift+ArrowLeft": 0.5, "ArrowLeft": 0.0}.items():
        opened.keyboard.press(key)
        assert position(opened) == pytest.approx(place, abs=1e-3)
    opened.keyboard.press("ArrowLeft")
    assert position(opened) == 0


def drag(page: Any, start: float, end: float, picture: str = SPECTROGRAM) -> None:
    """From one share of a picture's width to another."""
    plot = page.locator(f"{picture} .plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=3)
    page.mouse.up()


def test_a_click_in_a_picture_goes_there(opened: Any) -> None:
    drag(opened, 0.75, 0.75)
    assert position(opened) == pytest.approx(0.75, abs=0.005)  # a pixel or two
    assert opened.get_attribute("#loop", "aria-pressed") == "false"


def test_a_drag_in_a_picture_repeats_the_region(opened: Any) -> None:
    drag(opened, 0.8, 0.6)
    assert opened.get_attribute("#loop", "aria-pressed") == "true"
    assert position(opened) == pytest.approx(0.6, abs=0.005)
    opened.keyboard.press(" ")
    places = []
    for _ in range(30):
        opened.wait_for_timeout(20)
        places.append(position(opened))
    assert 0.59 < min(places) < max(places) < 0.81
    assert sum(later < earlier for earlier, later in pairwise(places)) >= 2  # it came round
    opened.keyboard.press("l")
    wait_until(opened, lambda: position(opened) == SECONDS)


def test_the_overview_is_a_picture_too(opened: Any) -> None:
    drag(opened, 0.25, 0.25, "#overview")
    assert position(opened) == pytest.approx(0.25, abs=0.005)


def test_keys_begin_and_end_a_region(opened: Any) -> None:
    for key in ("ArrowRight", "["):
        opened.keyboard.press(key)
    opened.keyboard.press("Shift+ArrowRight")
    opened.keyboard.press("]")
    assert opened.get_attribute("#loop", "aria-pressed") == "true"
    region = opened.locator(f"{SPECTROGRAM} .region").first.bounding_box()
    plot = opened.locator(f"{SPECTROGRAM} .plot").first.bounding_box()
    assert (region["x"] - plot["x"]) / plot["width"] == pytest.approx(0.5, abs=0.01)
    assert region["width"] / plot["width"] == pytest.approx(0.05, abs=0.01)


# What is seen.


def seen(page: Any) -> tuple[float, float]:
    """The first and the last time at the axis of the first spectrogram."""
    texts = page.locator(f"{SPECTROGRAM} >> nth=0 >> .times span").all_inner_texts()
    return float(texts[0].split()[0]), float(texts[-1].split()[0])


def test_zooming_in_shows_the_region_and_a_click_goes_where_it_points(opened: Any) -> None:
    assert seen(opened) == (0.0, 1.0)
    assert opened.locator("#zoom-out").is_disabled()
    drag(opened, 0.6, 0.8)
    opened.keyboard.press("+")
    assert seen(opened) == (0.60, 0.80)
    drag(opened, 0.25, 0.25)
    assert position(opened) == pytest.approx(0.65, abs=0.002)
    frame, whole = (opened.locator(f"#overview {one}").bounding_box() for one in (".frame", ".plot"))
    assert frame["width"] / whole["width"] == pytest.approx(0.2, abs=0.01)
    opened.click("#zoom-out")
    assert seen(opened) == pytest.approx((0.55, 0.95), abs=0.1)
    opened.keyboard.press("0")
    assert seen(opened) == (0.0, 1.0)


def test_zooming_in_keeps_what_is_at_the_cursor_in_its_place(opened: Any) -> None:
    drag(opened, 0.5, 0.5)
    opened.keyboard.press("+")
    opened.keyboard.press("+")
    assert seen(opened) == pytest.approx((0.375, 0.625), abs=0.026)
    cursor, plot = (opened.locator(f"{SPECTROGRAM} {one}").first.bounding_box() for one in (".cursor", ".plot"))
    assert (cursor["x"] - plot["x"]) / plot["width"] == pytest.approx(0.5, abs=0.01)


def test_a_turn_of_the_wheel_zooms_with_ctrl_and_goes_along_with_shift(opened: Any) -> None:
    opened.mouse.move(*centre(opened, f"{SPECTROGRAM} .plot"))
    opened.keyboard.down("Control")
    opened.mouse.wheel(0, -200)
    wait_until(opened, lambda: seen(opened) == pytest.approx((0.375, 0.625), abs=0.026))
    opened.keyboard.up("Control")
    opened.keyboard.down("Shift")
    opened.mouse.wheel(0, 1000)
    wait_until(opened, lambda: seen(opened) == pytest.approx((0.625, 0.875), abs=0.026))
    opened.keyboard.up("Shift")
    opened.keyboard.press("2")  # the position is elsewhere, and nothing moves
    assert seen(opened) == pytest.approx((0.625, 0.875), abs=0.026)


@pytest.mark.usefixtures("long_utterances")
def test_a_close_view_follows_what_is_played(opened: Any) -> None:
    for _ in range(5):
        opened.keyboard.press("+")
    assert seen(opened) == pytest.approx((0.0, 0.6), abs=0.1)
    opened.keyboard.press(" ")
    wait_until(opened, lambda: seen(opened)[0] >= 0.6)


def test_waveforms_are_shown_when_asked_for(opened: Any) -> None:
    assert opened.locator(".waveform:visible").count() == 0
    opened.keyboard.press("w")
    assert opened.locator(".waveform:visible").count() == 3


# Orange: more red than green than blue, which no colour of the scale has.
ORANGE = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const rows = Array(canvas.width).fill(0);
    for (let i = 0; i < data.length; i += 4)
        if (data[i] > 1.3 * data[i + 1] && data[i + 1] > 1.3 * data[i + 2]) rows[(i / 4) % canvas.width]++;
    return rows;
}"""


def test_lines_of_f0_are_thin_and_can_be_hidden(opened: Any) -> None:
    rows = opened.locator(f"{SPECTROGRAM} canvas").first.evaluate(ORANGE)
    assert 1 <= max(rows) <= 3
    opened.keyboard.press("f")
    assert max(opened.locator(f"{SPECTROGRAM} canvas").first.evaluate(ORANGE)) == 0
    assert opened.locator("#legend .pitch:visible").count() == 0


def test_a_sound_is_saved_bit_for_bit(opened: Any, tmp_path: Path) -> None:
    for act, system, name in [
        (lambda: opened.click("text=Save >> nth=1"), "wavenet", "a1"),
        (lambda: opened.keyboard.press("s"), ORIGINAL, "a0"),
    ]:
        with opened.expect_download() as download:
            act()
        assert download.value.suggested_filename == f"b-10.{system}.flac"
        assert Path(download.value.path()).read_bytes() == (tmp_path / "audio" / f"{name}.flac").read_bytes()


@pytest.mark.usefixtures("long_utterances")
def test_up_and_down_open_the_next_utterance_and_it_goes_on_playing(opened: Any) -> None:
    opened.keyboard.press("2")
    opened.keyboard.press(" ")
    for key, utterance in [
        ("j", "b/9"),
        ("k", "b/10"),
        ("ArrowDown", "b/9"),
        ("ArrowDown", "b/9"),
        ("ArrowUp", "b/10"),
    ]:
        opened.keyboard.press(key)
        assert opened.inner_text("#utterance-id") == utterance
        assert opened.locator("tr[aria-current] button").inner_text() == utterance
    wait_until(opened, lambda: opened.inner_text("#play").startswith("Pause"))
    assert heard(opened) == ["wavenet"]


def test_loud_versions_are_played_at_the_quietest_s_level_unless_told_otherwise(opened: Any) -> None:
    remarks = opened.locator("figure:not(.difference) .remark")
    assert remarks.all_inner_texts() == ["−20.0 LUFS, played −6.0 dB", "−26.0 LUFS", "−20.0 LUFS, played −6.0 dB"]
    opened.keyboard.press("m")
    assert remarks.all_inner_texts() == ["−20.0 LUFS", "−26.0 LUFS", "−20.0 LUFS"]


def test_differences_are_shown_when_asked_for(opened: Any) -> None:
    assert opened.locator("figure.difference:visible").count() == 0
    opened.keyboard.press("d")
    captions = opened.locator("figure.difference:visible strong").all_inner_texts()
    assert captions == ["wavenet − original", "griffin-lim − original"]


def test_help_opens_and_closes_and_takes_the_keys_meanwhile(opened: Any) -> None:
    opened.keyboard.press("?")
    assert opened.locator("dialog").is_visible()
    opened.keyboard.press("2")
    assert heard(opened) == [ORIGINAL]
    opened.click("dialog button")
    assert not opened.locator("dialog").is_visible()


def test_the_space_bar_plays_unless_the_keyboard_is_on_a_button(opened: Any) -> None:
    opened.keyboard.press("l")  # without an end, however slow the machine
    opened.locator("#systems button").nth(1).press(" ")
    assert heard(opened) == ["wavenet"]
    assert opened.inner_text("#play").startswith("Play")
    opened.locator("#systems button").nth(2).click()
    opened.keyboard.press(" ")
    assert heard(opened) == ["griffin-lim"]
    assert opened.inner_text("#play").startswith("Pause")


def colours(page: Any, selector: str) -> list[int]:
    found = page.eval_on_selector(selector, "node => getComputedStyle(node).backgroundColor")
    return [int(number) for number in re.findall(r"\d+", found)[:3]]


def test_the_page_is_dark_where_people_want_it_dark(opened: Any) -> None:
    assert min(colours(opened, "body")) > 200
    opened.emulate_media(color_scheme="dark")
    assert max(colours(opened, "body")) < 50


@pytest.mark.parametrize("width", [320, 390, 800])
def test_a_narrow_window_is_filled_and_never_scrolls_sideways(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 700})
    opened.keyboard.press("d")
    opened.keyboard.press("w")
    opened.click("text=Measures of this utterance")
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    cut = "[...document.querySelectorAll('.scroll')].filter(node => node.scrollWidth > node.clientWidth).length"
    assert opened.evaluate(cut) == 0
    assert opened.locator("#panel").bounding_box()["width"] > 0.6 * width


# What is computed in the browser.


def test_a_tone_is_as_high_and_as_loud_as_its_picture_says(opened: Any) -> None:
    hertz, level = opened.evaluate(
        """() => {
            const tone = Float32Array.from({ length: 8000 }, (_, i) => 0.5 * Math.sin(2 * Math.PI * i / 8));
            const { frames, decibels } = spectrogram(tone, 8000, { n_fft: 512, win_length: 512, hop_length: 160 });
            const column = decibels.subarray(25 * ROWS, 26 * ROWS);
            const level = Math.max(...column);
            return [axisHertz((column.indexOf(level) + 0.5) / ROWS, 8000), level];
        }"""
    )
    assert hertz == pytest.approx(1000, abs=8000 / 512)  # a bin
    # A row between two bins shows their mean power, of which a neighbour has a quarter: up to 10 log10(5 / 8) less.
    assert 20 * np.log10(0.5) - 2.1 < level <= 20 * np.log10(0.5) + 0.01


def test_a_difference_is_the_copy_s_level_less_the_recording_s_above_the_floor(opened: Any) -> None:
    levels = opened.evaluate(
        """() => {
            const of = (decibels) => ({ frames: 1, decibels: Float32Array.from({ ...decibels, length: ROWS }) });
            return [...difference(of([-20, -40, -99, -70]), of([-30, -35, -80, -95]), -80).decibels.slice(0, 4)];
        }"""
    )
    assert levels == [10, -5, 0, 10]


def test_a_waveform_reaches_from_the_lowest_to_the_highest_sample_of_each_column(opened: Any) -> None:
    up, down = opened.evaluate(
        """() => {
            const samples = new Float32Array(8000);
            [samples[4001], samples[6001]] = [1, -0.5];
            const canvas = element("canvas", { width: 100, height: 100 });
            const context = canvas.getContext("2d");
            drawWaveform(context, 100, 100, { samples, sampleRate: 8000, view: new View(1), peak: 1, colour: "#000" });
            const rows = (x) => [...context.getImageData(x, 0, 1, 100).data].filter((_, i) => i % 4 === 3);
            const filled = (x) => [rows(x).findIndex(Boolean), rows(x).findLastIndex(Boolean)];
            return [filled(50), filled(75)];
        }"""
    )
    assert up == [2, pytest.approx(50, abs=1)]
    assert down == [pytest.approx(50, abs=1), pytest.approx(74, abs=1)]


def test_few_samples_are_joined_by_a_line(opened: Any) -> None:
    heights = opened.evaluate(
        """() => {
            const canvas = element("canvas", { width: 90, height: 100 });
            const context = canvas.getContext("2d");
            const view = Object.assign(new View(1), { end: 2 / 8000 });
            const samples = Float32Array.from([0, 1, 0, -1]);
            drawWaveform(context, 90, 100, { samples, sampleRate: 8000, view, peak: 1, colour: "#000" });
            const alpha = (x) => [...context.getImageData(x, 0, 1, 100).data].filter((_, i) => i % 4 === 3);
            const sum = (values) => values.reduce((a, b) => a + b);
            const middle = (values) => sum(values.map((a, y) => a * (y + 0.5))) / sum(values);
            return [1, 22, 44, 67].map((x) => middle(alpha(x)));
        }"""
    )
    assert heights == pytest.approx([50, 26, 2, 26], abs=2)


# An offline context computes what a listener would hear. It waits at half a second, where another track is selected.
SWITCH = """async ([a, b]) => {
    let offline;
    window.AudioContext = class extends OfflineAudioContext {
        constructor({ sampleRate }) { super(1, sampleRate, sampleRate); offline = this; }
        resume() { return Promise.resolve(); }
    };
    const buffer = (samples) => {
        const made = new AudioBuffer({ length: samples.length, sampleRate: 8000 });
        made.copyToChannel(Float32Array.from(samples), 0);
        return made;
    };
    const player = new Player(8000);
    player.load([{ name: "a", buffer: buffer(a), gain: 1 }, { name: "b", buffer: buffer(b), gain: 0.5 }]);
    player.play();
    offline.suspend(0.512).then(() => { player.select("b"); OfflineAudioContext.prototype.resume.call(offline); });
    return [...(await offline.startRendering()).getChannelData(0)];
}"""


def test_what_is_heard_is_the_file_and_after_a_switch_the_other_one_at_the_same_sample(opened: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 8000)).astype(np.float32)
    sound = np.array(opened.evaluate(SWITCH, [a.tolist(), b.tolist()]))
    start, fade, switch = 160, 200, 4096  # playing begins 20 ms on; after 25 ms nothing is left of a fade
    np.testing.assert_array_equal(sound[:start], 0)
    np.testing.assert_allclose(sound[start + fade : switch], a[fade : switch - start], atol=1e-4)
    np.testing.assert_allclose(sound[switch + fade :], 0.5 * b[switch + fade - start : -start], atol=1e-4)


def test_a_file_is_decoded_to_its_samples(opened: Any, tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(-32768, 32768, 1000).astype(np.int16)
    soundfile.write(tmp_path / "x.flac", levels, RATE)
    decoded = opened.evaluate(
        "async (audio) => [...(await Player.decode(audio, 8000)).getChannelData(0)]", inline_audio(tmp_path / "x.flac")
    )
    np.testing.assert_allclose(np.array(decoded) * 32768, levels, atol=1)  # browsers differ in what full scale is
