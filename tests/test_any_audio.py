"""The corpora of `recipes/any-audio` are what they say: notes in tune, sounds in their place, no tune in two parts."""

from __future__ import annotations

import importlib.util
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder.data.corpora import check_corpus, split_each
from vocoder.data.layouts import read_corpus

pytest.importorskip("scipy")

SCRIPT = Path(__file__).parents[1] / "recipes" / "any-audio" / "make_corpora.py"


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("make_corpora", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def levels(sound, padded=1):
    """Frequencies in Hz, and the power at each."""
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), padded * len(sound))) ** 2
    return np.arange(len(power)) * 22_050 / (padded * len(sound)), power


def test_notes_are_those_of_equal_temperament(recipe):
    for note, hertz in {"A4": 440.0, "C4": 261.626, "F#5": 739.989, "B3": 246.942, "C5": 523.251}.items():
        assert recipe.to_hertz(note) == pytest.approx(hertz, abs=1e-3)
    assert recipe.to_hertz("A4", transposed=-12) == pytest.approx(220.0)


# The strings are out of tune on purpose, by up to eight cents each.
@pytest.mark.parametrize("note", ["D3", "A4", "E5"])
@pytest.mark.parametrize(
    ("name", "cents"), [("pluck", 3), ("strike", 3), ("organ", 3), ("flute", 3), ("bell", 3), ("strings", 9)]
)
def test_an_instrument_sounds_the_note_of_the_score(recipe, name, cents, note):
    wanted = recipe.to_hertz(note)
    frequency, power = levels(recipe.INSTRUMENTS[name](wanted, 2.0, np.random.default_rng(0)), padded=8)
    near = np.abs(frequency / wanted - 1) < 0.05
    found = np.average(frequency[near], weights=power[near])  # of the line, and of what vibrato makes of it
    assert abs(1200 * np.log2(found / wanted)) < cents


@pytest.mark.parametrize("name", ["strike", "organ", "strings", "bell"])
def test_what_is_added_of_sines_does_not_alias(recipe, name):
    """All partials lie below the Nyquist frequency: near it, nothing is heard that a file of 16 bits would keep."""
    sound = recipe.INSTRUMENTS[name](1800.0, 1.0, np.random.default_rng(0))
    frequency, power = levels(sound[2205:-2205])
    assert power[frequency > 10_500].max() < 1e-9 * power.max()


# Where at least nine tenths of the power lie, in Hz: the limits of the formulas, and a third of an octave for slopes.
PLACES = {
    "rain": (1000, 10_500),
    "wind": (60, 1600),
    "waves": (80, 10_500),
    "brook": (300, 5000),
    "fire": (50, 10_500),
    "steps": (40, 10_500),
    "birds": (1800, 6500),
    "crickets": (3900, 5100),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_scene_sounds_where_it_should(recipe, name):
    low, high = PLACES[name]
    for seed in range(3):
        sound = recipe.SCENES[name](np.random.default_rng(seed))
        frequency, power = levels(sound)
        assert len(sound) == 110_250  # five seconds
        assert power[(frequency > low) & (frequency < high)].sum() > 0.9 * power.sum()


def test_every_scene_is_tested(recipe):
    assert set(PLACES) == set(recipe.SCENES)


def test_a_tune_that_is_held_out_trains_nothing(recipe):
    tunes: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    leads: Counter = Counter()
    for part, text, _ in recipe.music().values():
        tune, _, players = text.partition(": ")
        tunes[part].add(tune)
        leads[part, players.split()[0].rstrip(",")] += 1
    assert not tunes["train"] & (tunes["validation"] | tunes["test"])
    assert not tunes["validation"] & tunes["test"]
    assert all(leads[part, lead] for part in tunes for lead in recipe.INSTRUMENTS)  # each is heard in all parts


def test_every_scene_is_heard_in_all_parts(recipe):
    heard = {(part, text.removeprefix("synthetic ")) for part, text, _ in recipe.environment().values()}
    assert heard == {(part, scene) for part in ("train", "validation", "test") for scene in recipe.SCENES}


def test_what_is_written_is_a_corpus_and_the_same_every_time(recipe, tmp_path):
    for folder in ("once", "again"):
        clips = recipe.environment()
        few = {id_: clips[id_] for id_ in ("wind-1", "birds-2", "steps-3")}
        recipe.write(tmp_path / folder, "environment", few)
    usable, unusable = check_corpus(read_corpus(tmp_path / "once" / "environment.csv"), sample_rate=22_050)
    assert not unusable
    parts = split_each({"environment": usable})
    assert {part: [u.id for u in found] for part, found in parts.items()} == {
        "test": ["wind-1"], "validation": ["birds-2"], "train": ["steps-3"],
    }  # fmt: skip
    for utterance in usable:
        assert utterance.file_rate == 22_050
        assert 10 ** (-15 / 20) - 0.001 < np.abs(soundfile.read(utterance.path)[0]).max() < 10 ** (-3 / 20) + 0.001
    for one in (tmp_path / "once").rglob("*.*"):
        assert one.read_bytes() == (tmp_path / "again" / one.relative_to(tmp_path / "once")).read_bytes()


def test_corpora_that_are_there_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", [str(SCRIPT), str(tmp_path)])
    with pytest.raises(SystemExit, match="is there already"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert not list(tmp_path.iterdir())
