"""A corpus is read, checked and split alike wherever it lies; what is wrong with it is said by name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder.data.corpora import CorpusError, Utterance, check_corpus, describe_unusable, split
from vocoder.data.layouts import read_corpus

RATE = 8000


def write(path: Path, samples: int = 400, *, rate: int = RATE, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full((samples, channels), 0.1), rate)
    return path


def ljspeech(root: Path, ids: list[str]) -> Path:
    for id_ in ids:
        write(root / "wavs" / f"{id_}.wav")
    (root / "metadata.csv").write_text("".join(f"{id_}|Some text.|Some text.\n" for id_ in ids), encoding="utf-8")
    return root


def test_a_folder_in_ljspeechs_layout_has_the_ids_of_its_metadata(tmp_path):
    root = ljspeech(tmp_path, ["b", "a"])
    write(root / "wavs" / "unlisted.wav")
    assert [(u.id, u.path) for u in read_corpus(root)] == [(i, root / "wavs" / f"{i}.wav") for i in ("a", "b")]


def test_metadata_may_begin_with_a_byte_order_mark_and_hold_foreign_letters(tmp_path):
    root = ljspeech(tmp_path, ["a"])
    (root / "metadata.csv").write_bytes(b"\xef\xbb\xbfa|caf\xe9|\n\n")
    assert [(u.id, u.path.is_file()) for u in read_corpus(root)] == [("a", True)]


def test_any_other_folder_is_searched_at_any_depth(tmp_path):
    write(tmp_path / "speaker" / "b.flac")
    write(tmp_path / "a.WAV")
    write(tmp_path / ".hidden.wav")
    (tmp_path / "notes.txt").write_text("not audio")
    assert [u.id for u in read_corpus(tmp_path)] == ["a", "speaker/b"]


@pytest.mark.parametrize("listed", [True, False], ids=["ljspeech", "folder"])
def test_an_id_with_two_files_is_one_utterance(tmp_path, listed):
    root = ljspeech(tmp_path, ["a"]) if listed else tmp_path
    for suffix in ("flac", "wav"):
        write(root / "wavs" / f"a.{suffix}")
    assert [u.path.name for u in read_corpus(root)] == ["a.wav"]


def test_a_missing_corpus_says_where_it_looked_and_both_remedies(tmp_path):
    with pytest.raises(CorpusError, match=r"none at .*/LJSpeech-1\.1\. .*DATA=/path.*`vocoder download .*`"):
        read_corpus(tmp_path / "LJSpeech-1.1")


def test_the_home_folder_may_be_abbreviated(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "speech" / "a.wav")
    assert len(read_corpus("~/speech")) == 1


@pytest.mark.parametrize(("listed", "place"), [(True, "under wavs/"), (False, "at any depth")])
def test_a_corpus_without_audio_says_what_was_looked_for(tmp_path, listed, place):
    if listed:
        (tmp_path / "metadata.csv").touch()
    with pytest.raises(CorpusError, match=rf"holds no audio: looked for files ending in .*\.wav.* {place}"):
        read_corpus(tmp_path)


def broken(kind: str, path: Path) -> Path:
    """A file unfit for training."""
    path = path.with_suffix(".wav")
    if kind == "text":
        path.write_text("this is no audio")
    elif kind == "empty":
        write(path, 0)
    elif kind == "nan":
        soundfile.write(path, np.array([0.0, np.nan]), RATE, subtype="FLOAT")
    elif kind == "scale":
        soundfile.write(path, np.array([[0.0, 100.0], [0.1, -20_000.0]]), RATE, subtype="FLOAT")
    elif kind in ("slow", "fast"):
        write(path, rate=999 if kind == "slow" else 2**31 - 1)
    return path


REASONS = {
    "text": "unreadable (",
    "empty": "empty",
    "nan": "NaN",
    "scale": "peaks at 20000, where full scale is 1",
    "slow": "is sampled at 999 Hz, and less than 1000 Hz holds no speech",
    "fast": "is sampled at 2147483647 Hz, and more than 1000000 Hz nobody records",
    "gone": "missing",
}


@pytest.mark.parametrize("kind", REASONS)
def test_one_unusable_file_in_a_hundred_is_named_and_left_out(tmp_path, kind):
    good = write(tmp_path / "good.wav", channels=2)
    bad = broken(kind, tmp_path / kind)
    utterances = [Utterance(f"u{n}", good) for n in range(99)] + [Utterance("bad", bad)]
    usable, unusable = check_corpus(utterances, RATE)
    assert [u.samples for u in usable] == [400] * 99
    assert list(unusable) == [str(bad)]
    assert REASONS[kind] in unusable[str(bad)]


def test_more_than_one_in_a_hundred_stops_with_the_list_of_them(tmp_path):
    good, reasons = write(tmp_path / "good.wav"), {}
    for kind, reason in REASONS.items():
        reasons[broken(kind, tmp_path / kind)] = reason
    utterances = [Utterance(f"u{n}", good) for n in range(300)] + [Utterance(p.stem, p) for p in reasons]
    with pytest.raises(CorpusError, match=r"needs 99 % .*7 of 307 files cannot be used") as error:
        check_corpus(utterances, RATE)
    for path, reason in reasons.items():
        assert f"{path}: {reason}" in str(error.value).replace("holds NaN", "NaN")


def test_a_file_of_another_rate_has_the_length_that_it_will_be_read_with(tmp_path):
    rates = (4000, RATE, 22_050)
    utterances = [Utterance(str(rate), write(tmp_path / f"{rate}.wav", 401, rate=rate)) for rate in rates]
    usable, unusable = check_corpus(utterances, RATE)
    assert [(u.samples, u.file_rate) for u in usable] == [(802, 4000), (401, RATE), (146, 22_050)]
    assert not unusable


def test_a_long_list_of_unusable_files_is_cut_off():
    text = describe_unusable({f"{n}.wav": "empty" for n in range(30)}, 100)
    assert text.count("empty") == 20
    assert "and 10 more" in text


def utterances(number: int) -> list[Utterance]:
    return [Utterance(f"id-{n}", Path(f"{n}.wav"), 100) for n in range(number)]


@pytest.mark.parametrize("number", [3, 4, 49, 50, 1000])
def test_a_split_puts_each_utterance_into_exactly_one_part(number):
    parts = split(utterances(number))
    assert list(parts) == ["validation", "test", "train"]
    assert sorted(u.id for part in parts.values() for u in part) == sorted(u.id for u in utterances(number))
    assert all(parts.values())
    if number == 1000:  # binomial: 15 expected, and four standard deviations
        assert all(abs(len(parts[name]) - 15) < 16 for name in ("validation", "test"))


def test_a_split_depends_on_the_ids_alone():
    elsewhere = [Utterance(u.id, Path("elsewhere") / u.path, 7) for u in reversed(utterances(200))]
    assert [[u.id for u in part] for part in split(elsewhere).values()] == [
        [u.id for u in part] for part in split(utterances(200)).values()
    ]


def test_added_utterances_move_no_other():
    few, many = split(utterances(1000)), split(utterances(1300))
    for name, part in few.items():
        assert {u.id for u in part} <= {u.id for u in many[name]}


OUTSIDE = ["../outside", "/outside", "a/../../outside", "..", ".", "", "a//b", "a/", "a\0b"]


@pytest.mark.parametrize("id_", OUTSIDE, ids=repr)
def test_an_id_that_leads_out_of_the_corpus_is_refused(tmp_path, id_):
    write(tmp_path / "outside.wav")
    root = ljspeech(tmp_path / "corpus", ["a"])
    with (root / "metadata.csv").open("a", encoding="utf-8") as file:
        file.write(f"{id_}|Some text.\n")
    with pytest.raises(
        CorpusError, match=r"must name a file inside its corpus, but is .*first column of metadata\.csv"
    ):
        read_corpus(root)


def test_a_file_whose_name_is_no_text_is_refused_with_its_name(tmp_path):
    write(tmp_path / "a.wav").rename(tmp_path / os.fsdecode(b"gr\xfc.wav"))
    with pytest.raises(CorpusError, match=r"must be text in UTF-8, but 'gr\\udcfc' is not\. Rename it"):
        read_corpus(tmp_path)


def test_an_id_may_hold_folders_and_points(tmp_path):
    root = ljspeech(tmp_path, ["a.b/..c/d..e"])
    assert [u.path.is_file() for u in read_corpus(root)] == [True]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_fewer_than_three_utterances_cannot_be_split(number):
    with pytest.raises(CorpusError, match=f"need an utterance each, but the corpus has {number}"):
        split(utterances(number))
