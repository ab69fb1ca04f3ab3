"""`vocoder prepare` finds what is wrong with a corpus, names it, and writes down the rest."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder.cli import main
from vocoder.data.corpora import split
from vocoder.data.inspection import find_oddities, inspect_corpus, inspect_recording, is_clipped
from vocoder.data.layouts import read_corpus
from vocoder.data.manifest import read_manifest

RATE = 16_000


def hum(seconds: float = 2.0, peak: float = 0.1, pitch: float = 150.0) -> np.ndarray:
    return peak * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)


def write(path: Path, samples: np.ndarray, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype=subtype)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Eight sound recordings, and one with each fault that there is."""
    root = tmp_path / "corpus"
    for number in range(8):
        write(root / f"good-{number}.wav", hum(pitch=150 + number))
    write(root / "clipped.wav", np.clip(hum(peak=1.2), -0.9, 0.9) / 8)  # made softer: not to be told by full scale
    write(root / "clipped-loud.wav", np.clip(hum(peak=1.2), -0.9, 0.9))
    write(root / "again.wav", hum(pitch=150))
    write(root / "silent.wav", np.zeros(RATE))
    write(root / "late.wav", np.concatenate([np.zeros(2 * RATE), hum()]))
    (root / "text.wav").write_text("no audio")
    write(root / "nan.wav", np.array([0.0, np.nan]), "FLOAT")
    write(root / "empty.wav", np.zeros(0))
    return root


def test_each_fault_is_found_where_it_is_and_nowhere_else(corpus):
    found = find_oddities(inspect_corpus(read_corpus(corpus)))
    assert {kind: set(which) for kind, which in found.items()} == {
        "unreadable": {"text", "nan", "empty"},
        "silent": {"silent"},
        "duplicate": {"good-0"},
        "clipped": {"clipped-loud"},
        "odd level": {"clipped-loud"},
        "long silence": {"late"},
    }
    assert found["duplicate"]["good-0"] == "the same as again"
    assert found["long silence"]["late"] == "2.0 s before, 0.0 s after"


def test_the_level_of_speech_does_not_count_its_pauses(tmp_path):
    with_pauses = np.concatenate([np.zeros(RATE), hum(), np.zeros(3 * RATE)])
    levels = [inspect_recording(write(tmp_path / "a.wav", one)).level_db for one in (hum(), with_pauses)]
    assert levels == pytest.approx([10 * math.log10(0.1**2 / 2)] * 2, abs=0.05)


@pytest.mark.parametrize(
    ("samples", "clipped"),
    [
        ([0.0, 0.9, 0.9, 0.9, 0.0], True),
        ([0.0, -0.9, -0.9, -0.9, 0.0], True),
        ([0.0, 0.9, 0.9, 0.0, 0.9], False),
        ([0.0, 0.4, 0.4, 0.4, 0.0], False),
        ([0.9], False),
    ],
)
def test_peaks_are_cut_off_where_several_samples_are_the_largest(samples, clipped):
    assert is_clipped(np.array([samples], np.float32).T) is clipped
    assert is_clipped(np.array([[0.0] * len(samples), samples], np.float32).T) is clipped


def test_the_command_says_what_there_is_and_writes_what_is_fit(corpus, capsys):
    file = corpus / "list.csv"
    assert main(["prepare", str(corpus), "-o", str(file)]) == 0
    printed = capsys.readouterr().out
    for line in ("16, of which 13 can be read", "16000 Hz: 13", "  good-0: the same as again", "silent: 1"):
        assert line in printed
    listed = read_manifest(file)
    assert len(listed) == 11
    assert {u.id for u in read_corpus(corpus)} - {u.id for u in listed} == {"text", "nan", "empty", "silent", "good-0"}
    assert f"{file}  11 recordings, without 5 that cannot be used." in printed


def test_a_manifest_written_of_a_corpus_divides_it_as_the_corpus_is(tmp_path):
    for number in range(40):
        write(tmp_path / "corpus" / "anna" / f"{number}.wav", hum(0.1, pitch=100 + number))
        write(tmp_path / "corpus" / "bob" / f"{number}.wav", hum(0.1, pitch=200 + number))
    assert main(["prepare", str(tmp_path / "corpus"), "-o", str(tmp_path / "list.jsonl")]) == 0
    one, other = (split(read_corpus(tmp_path / name)) for name in ("corpus", "list.jsonl"))
    for part in one:
        assert [(u.id, u.speaker) for u in one[part]] == [(u.id, u.speaker) for u in other[part]]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("list.txt", "is .csv or .jsonl, but --output is"),
        ("metadata.csv", "Give the manifest another name"),
        ("there.csv", "Pass --overwrite"),
        ("nowhere/list.csv", "Make it first"),
    ],
)
def test_a_manifest_that_cannot_be_written_is_refused_before_any_work(corpus, tmp_path, capsys, output, message):
    (tmp_path / "there.csv").write_text("mine")
    assert main(["prepare", str(corpus), "-o", str(tmp_path / output)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_a_corpus_of_which_nothing_is_fit_gives_no_manifest(tmp_path, capsys):
    write(tmp_path / "corpus" / "silent.wav", np.zeros(RATE))
    assert main(["prepare", str(tmp_path / "corpus"), "-o", str(tmp_path / "list.csv")]) == 2
    assert "there is none. Nothing was written." in capsys.readouterr().err
    assert not (tmp_path / "list.csv").exists()


def test_pairs_are_looked_at_and_the_cause_is_said(tmp_path, capsys):
    pytest.importorskip("torchaudio")
    from test_pairing import DEMO, move, own_mel

    utterances = read_corpus(DEMO)[:4]
    for utterance in utterances:
        (tmp_path / "corpus").mkdir(exist_ok=True)
        (tmp_path / "corpus" / utterance.path.name).symlink_to(utterance.path)
    for utterance in utterances[:3]:
        np.save(tmp_path / f"{utterance.path.stem}.npy", move(own_mel(utterance), 2).numpy())
    command = ["prepare", str(tmp_path / "corpus"), "--mels", str(tmp_path), "-o", str(tmp_path / "list.csv")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    for line in ("without mel: 1", "frames more than the recordings' own: -2: 3", "shift, in frames: +2: 3"):
        assert line in printed
    assert "are 2 frames early" in printed
    assert main([*command, "--mel-shift", "2", "--overwrite"]) == 0
    printed = capsys.readouterr().out
    assert "Mels and recordings belong together." in printed
    assert f"--data.root {tmp_path / 'list.csv'} --data.mel_shift=2" in printed
    assert [u.mel.name for u in read_manifest(tmp_path / "list.csv")] == [f"demo-0{n}.npy" for n in (1, 2, 3)]
