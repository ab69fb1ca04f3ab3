"""The blind test: that it is blind, and that answers come out as they were given, in a real browser."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from vocoder.cli import main
from vocoder.evaluation.listening.answers import read_answers, read_key
from vocoder.evaluation.listening.blind import ANCHOR, REFERENCE, UTTERANCES, low_pass, write_blind_test
from vocoder.evaluation.listening.results import summarise
from vocoder.evaluation.records import Evaluation, SystemOutput, UtteranceRecord

pytest_plugins = ["browser"]

RATE = 16_000
SYSTEMS = {"original": -20.0, "my-model": -20.0 + 20 * math.log10(2), "griffin-lim": None}  # with their LUFS


def make_evaluation(
    folder: Path, ids: tuple[str, ...] = ("first", "second"), missing: tuple[str, ...] = ()
) -> Evaluation:
    """Utterances of 0.3 s of noise, each system's its own; Griffin-Lim has none of the missing."""
    generator, utterances = np.random.default_rng(0), []
    for id_ in ids:
        outputs = {}
        for system, loudness in SYSTEMS.items():
            audio = f"audio/{system}/{id_}.flac"
            (folder / audio).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / audio, 0.1 * generator.standard_normal(RATE * 3 // 10).clip(-1, 1), RATE)
            absent = system == "griffin-lim" and id_ in missing
            outputs[system] = SystemOutput(None if absent else audio, f0=[100.0, None], loudness=loudness)
        utterances.append(UtteranceRecord(id_, 0.3, "", outputs))
    return Evaluation(
        facts={}, sample_rate=RATE, f0_seconds=0.01, mel={}, measures=[], systems=list(SYSTEMS), totals={},
        utterances=utterances,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_blind_test(tmp_path, make_evaluation(tmp_path))
    return tmp_path


def read_parts(page: Path) -> dict[str, Any]:
    """What the page's scripts find, by id."""
    found = re.findall(r'<script type="application/json" id="([^"]+)">(.*?)</script>', page.read_text(encoding="utf-8"))
    return {id_: json.loads(text) for id_, text in found}


def test_the_page_names_no_system_not_even_inside_its_sounds(folder: Path) -> None:
    page = (folder / "report" / "blind.html").read_text(encoding="utf-8")
    sounds = [
        base64.b64decode(one) for id_, one in read_parts(folder / "report" / "blind.html").items() if "audio" in id_
    ]
    assert len(sounds) == 2 * 5  # three systems, the named reference, the anchor
    for name in (*SYSTEMS, ANCHOR, REFERENCE, "wavenet", "anchor"):
        assert name not in page.lower()
        assert not any(name.encode() in sound.lower() for sound in sounds)


def test_nothing_in_the_page_comes_from_outside(folder: Path) -> None:
    page = (folder / "report" / "blind.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=|https?:|@import|url\(", re.sub(r'id="audio-.*', "", page))


def test_the_order_of_sounds_and_codes_tells_nothing(folder: Path) -> None:
    parts = read_parts(folder / "report" / "blind.html")
    sounds = [id_ for id_ in parts if id_.startswith("audio-")]
    assert sounds == sorted(sounds)
    for trials in parts["test"]["trials"].values():
        assert all(trial["stimuli"] == sorted(trial["stimuli"]) for trial in trials)


def test_the_key_knows_every_sound_and_each_is_the_system_s_own(folder: Path) -> None:
    parts = read_parts(folder / "report" / "blind.html")
    key = read_key(folder)
    assert parts["test"]["test"] == key.test
    assert {f"audio-{code}" for code in key.codes} == {id_ for id_ in parts if id_.startswith("audio-")}
    assert len(set(key.codes.values())) == len(key.codes) == 10
    for code, (utterance, system) in key.codes.items():
        audio = base64.b64decode(parts[f"audio-{code}"])
        if system != ANCHOR:
            name = "original" if system == REFERENCE else system
            assert audio == (folder / "audio" / name / f"{utterance}.flac").read_bytes()
    assert key.systems == [*SYSTEMS, ANCHOR]


def test_each_mode_asks_what_it_should(folder: Path) -> None:
    trials = read_parts(folder / "report" / "blind.html")["test"]["trials"]
    system = {code: one[1] for code, one in read_key(folder).codes.items()}
    asked = {mode: [{system[code] for code in trial["stimuli"]} for trial in some] for mode, some in trials.items()}
    assert len(asked["abx"]) == 4
    assert all("original" in pair and len(pair) == 2 for pair in asked["abx"])
    assert sorted(name for one in asked["mos"] for name in one) == sorted(2 * list(SYSTEMS))
    assert asked["mushra"] == 2 * [{*SYSTEMS, ANCHOR}]
    assert all(system[trial["reference"]] == REFERENCE for trial in trials["mushra"])


def test_all_versions_are_as_loud_as_the_quietest(folder: Path) -> None:
    gains = read_parts(folder / "report" / "blind.html")["test"]["gains"]
    by_system = {system: gains[code] for code, (_, system) in read_key(folder).codes.items()}
    # Twice the amplitude is 6 dB more; the anchor goes with its recording; what has no loudness is left alone.
    assert by_system == {"original": 1, REFERENCE: 1, ANCHOR: 1, "my-model": 0.5, "griffin-lim": 1}


def test_written_again_it_is_the_same_and_of_another_sound_another(folder: Path) -> None:
    files = [folder / "report" / name for name in ("blind.html", "key.json")]
    before = [file.read_bytes() for file in files]
    evaluation = make_evaluation(folder)
    write_blind_test(folder, evaluation)
    assert [file.read_bytes() for file in files] == before
    codes = read_key(folder).codes
    (folder / "audio/my-model/first.flac").write_bytes((folder / "audio/griffin-lim/first.flac").read_bytes())
    write_blind_test(folder, evaluation)
    assert len(codes.keys() - read_key(folder).codes.keys()) == 1


def test_more_utterances_than_a_test_takes_leave_it_as_it_is_and_another_s_key_is_kept(tmp_path: Path) -> None:
    ids = [f"{number}" for number in range(UTTERANCES + 1)]
    tests = []
    for count in (UTTERANCES - 1, UTTERANCES, UTTERANCES + 1):
        write_blind_test(tmp_path, make_evaluation(tmp_path, tuple(ids[:count])))
        tests.append(read_key(tmp_path).test)
    assert tests[0] != tests[1] == tests[2]
    assert json.loads((tmp_path / "report" / f"key-{tests[0]}.json").read_text())["test"] == tests[0]


def test_the_anchor_is_the_one_of_bs_1534() -> None:
    impulse = torch.zeros(8192)
    impulse[4096] = 1
    for rate in (8000, 16_000, 22_050, 48_000):
        response = torch.fft.rfft(low_pass(impulse, rate)).abs().clamp(min=1e-9).log10() * 20
        hertz = torch.fft.rfftfreq(8192, 1 / rate)
        assert response[hertz <= 3500].abs().max() <= 0.1
        assert response[hertz >= 4000].max() <= -25
        assert rate < 9000 or response[hertz >= 4500].max() <= -50


def test_utterances_that_every_system_has_are_taken_first(tmp_path: Path) -> None:
    ids = tuple(f"u{i:02}" for i in range(UTTERANCES + 3))
    write_blind_test(tmp_path, make_evaluation(tmp_path, ids, missing=("u00",)))
    assert {utterance for utterance, _ in read_key(tmp_path).codes.values()} == {*ids[1 : UTTERANCES + 1]}


def test_where_no_utterance_is_complete_those_are_asked_about_that_are_there(tmp_path: Path) -> None:
    write_blind_test(tmp_path, make_evaluation(tmp_path, ("only",), missing=("only",)))
    assert {s for _, s in read_key(tmp_path).codes.values()} == {"original", "my-model", REFERENCE, ANCHOR}


def test_without_its_audio_nothing_is_written(tmp_path: Path) -> None:
    evaluation = make_evaluation(tmp_path)
    (tmp_path / "audio/my-model/first.flac").unlink()
    with pytest.raises(OSError, match=r"my-model/first.flac"):
        write_blind_test(tmp_path, evaluation)
    assert not (tmp_path / "report").exists()


# In a browser.


def begin(page: Any, folder: Path, mode: str, listener: str = "Anna") -> None:
    page.goto(f"{(folder / 'report' / 'blind.html').as_uri()}#{mode}")
    page.fill("#listener", listener)
    page.click("#modes .begin")
    wait_for_sound(page)


def wait_for_sound(page: Any) -> None:
    page.wait_for_selector("#toggle:enabled")


def listen_to_all(page: Any) -> None:
    wait_for_sound(page)
    for button in page.locator("[data-sound]:visible").all() or [page.locator("#toggle")]:
        button.click()


def save_answers(page: Any, folder: Path) -> Path:
    with page.expect_download() as download:
        page.click("#download")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_a_whole_abx_test_by_keys(page: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(page, folder, "abx")
    for answer in "1212":
        wait_for_sound(page)
        assert page.locator(".choice input:enabled").count() == 0
        assert page.inner_text("#hint") == "Please listen first to A, B, X."
        for key in ("a", "b", "x", answer, "Enter"):
            page.keyboard.press(key)
    assert page.is_visible("#end")
    answers = save_answers(page, folder)
    rows = read_rows(answers)
    assert answers.name == "abx-Anna.csv"
    assert [row["answer"] for row in rows] == ["a", "b", "a", "b"]
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4"]
    assert {row["plays"] for row in rows} == {"1"}
    assert main(["listening-results", str(folder), str(answers), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["abx"]
    key = read_key(folder).codes
    for system in ("my-model", "griffin-lim"):
        own = [row for row in rows if system in (key[row["a"]][1], key[row["b"]][1])]
        assert found[system]["correct"] == sum(row[row["answer"]] == row["stimulus"] for row in own)
        assert found[system]["trials"] == 2


def test_a_whole_opinion_test_that_is_interrupted(page: Any, folder: Path) -> None:
    begin(page, folder, "mos", "Anna, “a”")
    given = [5, 4, 3, 2, 1, 4]
    for i, value in enumerate(given):
        if i == 3:
            page.reload()
        listen_to_all(page)
        assert page.inner_text("#count") == f"Opinion: {i + 1} of 6"
        page.click(f".choice:has([value='{value}'])")
        page.click("#next")
    assert page.is_visible("#end")
    answers = save_answers(page, folder)
    assert answers.name == "mos-Anna-a-.csv"
    rows = read_rows(answers)
    assert [int(row["answer"]) for row in rows] == given
    assert {row["listener"] for row in rows} == {"Anna, “a”"}
    key, ratings = read_key(folder), defaultdict(list)
    for row, value in zip(rows, given, strict=True):
        ratings[key.codes[row["stimulus"]][1]].append(value)
    found = summarise(read_answers(key, [answers])).mos
    assert {system: one.mean for system, one in found.items()} == {s: sum(v) / 2 for s, v in ratings.items()}


def test_a_whole_mushra_test(page: Any, folder: Path) -> None:
    begin(page, folder, "mushra")
    given = [[100, 0, 41, 77], [13, 100, 50, 99]]
    for values in given:
        listen_to_all(page)
        assert page.is_disabled("#next")
        for slider, value in zip(page.locator(".slider input").all(), values, strict=True):
            if value == 50:  # where the thumb lies before
                slider.click()
            else:
                slider.fill(str(value))
        page.click("#next")
    assert page.is_visible("#end")
    answers = save_answers(page, folder)
    rows = read_rows(answers)
    assert [[int(row["answer"]) for row in rows if row["trial"] == trial] for trial in "12"] == given
    key, ratings = read_key(folder), defaultdict(list)
    for row in rows:
        ratings[key.codes[row["stimulus"]][1]].append(int(row["answer"]))
    assert ratings.keys() == {*SYSTEMS, ANCHOR}
    found = summarise(read_answers(key, [answers]))
    assert ("Anna" in found.excluded) == (min(ratings["original"]) < 90)
    if not found.excluded:
        assert {system: one.mean for system, one in found.mushra.items()} == {s: sum(v) / 2 for s, v in ratings.items()}


def test_versions_are_rated_by_keys_too(page: Any, folder: Path) -> None:
    begin(page, folder, "mushra")
    for key in "01234":
        page.keyboard.press(key)
    for key in ("2", "End", "3", "Home", "1", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator(".slider output").all_inner_texts() == ["51", "100", "0", "–"]
    assert page.inner_text("#hint") == "Still to rate: 4."
    assert page.get_attribute("[data-sound='1']", "aria-pressed") == "true"
    page.keyboard.press("Space")  # the slider has the focus, and no use for it
    assert page.inner_text("#toggle") == "Play"


def test_going_back_shows_what_was_answered_and_lets_it_be_changed(page: Any, folder: Path) -> None:
    begin(page, folder, "mos")
    assert page.is_disabled("#back")
    listen_to_all(page)
    page.click(".choice:has([value='2'])")
    page.click("#next")
    assert page.is_disabled("#next")
    page.click("#back")
    assert page.is_checked("[value='2']")
    page.click(".choice:has([value='5'])")
    assert [row["answer"] for row in read_rows(save_answers(page, folder))] == ["5"]


def test_starting_over_asks_first(page: Any, folder: Path) -> None:
    begin(page, folder, "mos")
    listen_to_all(page)
    page.click(".choice:has([value='2'])")
    page.click("#next")
    page.click("#close")
    asked = []

    def answer(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.accept() if len(asked) == 2 else dialog.dismiss()

    page.on("dialog", answer)
    page.click("#modes .discard")
    assert page.inner_text("#modes .count") == "1 of 6 done"
    page.click("#modes .discard")
    assert page.inner_text("#modes .count") == "0 of 6 done"
    assert asked == 2 * ["Discard Anna’s answers to “Opinion”?"]


def test_listeners_at_one_computer_do_not_get_into_each_other_s_way(page: Any, folder: Path) -> None:
    for listener, value in (("Anna", 2), ("Ben", 4)):
        begin(page, folder, "mos", listener)
        listen_to_all(page)
        page.click(f".choice:has([value='{value}'])")
        page.click("#close")
    page.fill("#listener", "Anna")
    page.click("#modes .begin")
    assert page.is_checked("[value='2']")


def test_orders_are_by_chance_but_stay(page: Any, folder: Path) -> None:
    page.goto((folder / "report" / "blind.html").as_uri())
    lay_out = "JSON.parse($('test').textContent).trials"
    orders = page.evaluate(f"[...Array(400).keys()].map((seed) => layOutTrials('abx', {lay_out}.abx, seed))")
    again = page.evaluate(f"[...Array(400).keys()].map((seed) => layOutTrials('abx', {lay_out}.abx, seed))")
    assert orders == again
    system = {code: one[1] for code, one in read_key(folder).codes.items()}
    trials = [trial["codes"] for order in orders for trial in order]
    assert all(one["X"] in (one["A"], one["B"]) for one in trials)
    # 1600 coins: three standard errors are 0.0375; 400 first trials of four: 0.065.
    assert np.mean([one["X"] == one["A"] for one in trials]) == pytest.approx(0.5, abs=0.0375)
    assert np.mean([system[one["A"]] == "original" for one in trials]) == pytest.approx(0.5, abs=0.0375)
    assert np.mean([system[one["X"]] == "original" for one in trials]) == pytest.approx(0.5, abs=0.0375)
    pairs = [frozenset((order[0]["codes"]["A"], order[0]["codes"]["B"])) for order in orders]
    assert all(pairs.count(pair) / 400 == pytest.approx(0.25, abs=0.065) for pair in set(pairs))
    versions = page.evaluate(f"[...Array(400).keys()].map((seed) => layOutTrials('mushra', {lay_out}.mushra, seed))")
    first = [system[order[0]["codes"]["1"]] for order in versions]
    assert all(first.count(name) / 400 == pytest.approx(0.25, abs=0.065) for name in (*SYSTEMS, ANCHOR))


def test_the_address_chooses_the_mode(page: Any, folder: Path) -> None:
    address = (folder / "report" / "blind.html").as_uri()
    page.goto(address)
    assert page.locator("#modes .title").all_inner_texts() == ["ABX", "Opinion", "Comparison"]
    page.goto(f"{address}#mushra")
    assert page.locator("#modes .title").all_inner_texts() == ["Comparison"]


def test_where_nothing_can_be_kept_it_says_so_and_goes_on(page: Any, folder: Path) -> None:
    page.add_init_script("delete window.localStorage; Object.defineProperty(window, 'localStorage', { value: null });")
    begin(page, folder, "mos")
    assert page.is_visible("#unkept")
    listen_to_all(page)
    page.click(".choice:has([value='2'])")
    page.click("#close")
    page.click("#modes .begin")
    assert page.is_checked("[value='2']")


@pytest.mark.parametrize("mode", ["abx", "mos", "mushra"])
def test_a_phone_is_wide_enough(page: Any, folder: Path, mode: str) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    begin(page, folder, mode)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
