"""Corpora in the layouts that people have: which files, and who speaks in each."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_corpora import write
from vocoder.data.corpora import CorpusError, Utterance, split_each
from vocoder.data.layouts import find_speakers, name_speakers, read_corpora, read_corpus, read_transcripts


def speakers(root: Path) -> dict[str, str]:
    return {u.id: u.speaker for u in read_corpus(root)}


def test_the_folders_of_a_corpus_are_its_speakers_where_there_are_several(tmp_path):
    write(tmp_path / "anna" / "monday" / "1.wav")
    assert speakers(tmp_path) == {"anna/monday/1": ""}
    write(tmp_path / "bob" / "1.flac")
    assert speakers(tmp_path) == {"anna/monday/1": "anna", "bob/1": "bob"}


def test_metadata_that_names_its_columns_says_who_speaks(tmp_path):
    for id_ in "ab":
        write(tmp_path / "wavs" / f"{id_}.wav")
    (tmp_path / "metadata.csv").write_text("id|speaker|text\na|anna|Hello.\nb|bob|Bye.\n")
    assert speakers(tmp_path) == {"a": "anna", "b": "bob"}
    assert read_transcripts(tmp_path, read_corpus(tmp_path)) == {"a": "Hello.", "b": "Bye."}


def test_of_vctk_the_first_microphone_is_taken_and_its_text(tmp_path):
    for name in ("p225", "s5"):
        for number, microphone in (("001", 1), ("001", 2), ("002", 1)):
            write(tmp_path / "wav48_silence_trimmed" / name / f"{name}_{number}_mic{microphone}.flac")
    (tmp_path / "txt" / "p225").mkdir(parents=True)
    (tmp_path / "txt" / "p225" / "p225_001.txt").write_text("Please call Stella.\n")
    assert speakers(tmp_path) == {f"{s}/{s}_{n}": s for s in ("p225", "s5") for n in ("001", "002")}
    assert read_transcripts(tmp_path, read_corpus(tmp_path)) == {"p225/p225_001": "Please call Stella."}


def test_of_libritts_the_subsets_for_training_are_taken_and_others_where_there_are_none(tmp_path):
    for place in ("train-clean-100/19/198", "train-other-500/20/205", "test-clean/61/70968"):
        name = "_".join(place.split("/")[1:]) + "_000000_000000"
        write(tmp_path / place / f"{name}.wav")
        (tmp_path / place / f"{name}.normalized.txt").write_text("A sentence.")
    one, two = "train-clean-100/19/198/19_198_000000_000000", "train-other-500/20/205/20_205_000000_000000"
    assert speakers(tmp_path) == {one: "19", two: "20"}
    assert read_transcripts(tmp_path, read_corpus(tmp_path)) == {one: "A sentence.", two: "A sentence."}
    for subset in ("train-clean-100", "train-other-500"):
        (tmp_path / subset).rename(tmp_path.parent / f"{tmp_path.name}-{subset}")
    assert list(speakers(tmp_path).values()) == ["61"]


def test_a_corpus_that_names_no_speaker_is_one_speaker_of_its_own_name(tmp_path):
    for name in ("kathleen", "kerstin"):
        write(tmp_path / name / "wavs" / "1.wav")
    roots = [str(tmp_path / name) for name in ("kathleen", "kerstin")]
    assert find_speakers(roots) == ("kathleen", "kerstin")
    assert [u.speaker for us in name_speakers(read_corpora(roots)).values() for u in us] == ["kathleen", "kerstin"]


def test_one_speaker_is_not_several(tmp_path):
    write(tmp_path / "voice" / "1.wav")
    with pytest.raises(CorpusError, match=r"all of voice is of one, voice\. Put each speaker's audio into a folder"):
        find_speakers([tmp_path / "voice"])


def test_a_recording_beside_the_speakers_folders_is_named(tmp_path):
    for name in ("anna/1", "bob/1", "stray"):
        write(tmp_path / "corpus" / f"{name}.wav")
    with pytest.raises(CorpusError, match=r"1 of 3 in corpus have none, stray say"):
        find_speakers([tmp_path / "corpus"])


def test_two_corpora_cannot_both_have_a_speaker_of_one_name(tmp_path):
    for name in ("one/p1", "one/p2", "two/p2", "two/p3"):
        write(tmp_path / name / "1.wav")
    with pytest.raises(CorpusError, match=r"one and two both have a speaker p2\. Rename one"):
        find_speakers([tmp_path / "one", tmp_path / "two"])


def test_of_one_recording_in_two_formats_the_one_is_taken_that_libsndfile_reads(tmp_path):
    for name in ("a.m4a", "deep/b.M4A", "c.webm", "c.flac", "a.aac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [u.path.name for u in read_corpus(tmp_path)] == ["a.m4a", "c.flac", "b.M4A"]


def of_speakers(counts: dict[str, int]) -> list[Utterance]:
    return [Utterance(f"{name}/{n}", Path("unread"), 100, speaker=name) for name in counts for n in range(counts[name])]


def test_every_speaker_of_three_utterances_validates_tests_and_trains():
    utterances = of_speakers({"anna": 3, "bob": 200, "carol": 2})
    parts = split_each({"corpus": utterances}, by_speaker=True)
    for part in ("validation", "test"):
        assert {u.speaker for u in parts[part]} == {"anna", "bob"}
    assert {u.speaker for u in parts["train"]} == {"anna", "bob", "carol"}
    assert [u.speaker for u in parts["validation"][:2]] == ["anna", "bob"]  # a few validate, and none is left out
    assert sorted(u.id for part in parts.values() for u in part) == sorted(u.id for u in utterances)


def test_a_speaker_is_divided_alike_whoever_else_is_in_the_corpus():
    alone = split_each({"corpus": of_speakers({"bob": 200})}, by_speaker=True)
    together = split_each({"corpus": of_speakers({"anna": 50, "bob": 200})}, by_speaker=True)
    for part, some in alone.items():
        assert [u.id for u in some] == [u.id for u in together[part] if u.speaker == "bob"]
