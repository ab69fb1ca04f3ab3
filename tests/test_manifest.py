"""A manifest says which recordings a corpus consists of, and what is wrong with it is said by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test_corpora import OUTSIDE, write
from vocoder.data.corpora import CorpusError, Utterance, split, split_each
from vocoder.data.layouts import find_speakers, read_corpora, read_corpus, read_transcripts
from vocoder.data.manifest import COLUMNS, read_manifest, write_manifest


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


HEAD = "audio,speaker,split,text"


def manifest(root: Path, *rows: str, head: str = HEAD) -> Path:
    (root / "list.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8-sig")
    return root / "list.csv"


def test_a_manifest_says_who_speaks_what_and_for_which_part(tmp_path):
    for name in "abc":
        write(tmp_path / "wavs" / f"{name}.wav")
    rows = ('wavs/a.wav,anna,train,"Well, hello."', "wavs/b.wav, bob, validation,", "wavs/c.wav,bob,test,")
    file = manifest(tmp_path, *rows)
    listed = read_corpus(file)
    assert [(u.id, u.path, u.speaker, u.part) for u in listed] == [
        ("wavs/a", tmp_path / "wavs" / "a.wav", "anna", "train"),
        ("wavs/b", tmp_path / "wavs" / "b.wav", "bob", "validation"),
        ("wavs/c", tmp_path / "wavs" / "c.wav", "bob", "test"),
    ]
    assert read_transcripts(file, listed) == {"wavs/a": "Well, hello."}
    assert find_speakers([file]) == ("anna", "bob")
    assert list(read_corpora([file])) == ["list"]
    for parts in (split(listed), split_each({"list": listed}, by_speaker=True)):
        assert {part: [u.id for u in some] for part, some in parts.items()} == {
            "train": ["wavs/a"],
            "validation": ["wavs/b"],
            "test": ["wavs/c"],
        }


def test_lines_of_json_say_the_same(tmp_path):
    for name in "ab":
        write(tmp_path / f"{name}.wav")
        touch(tmp_path / f"{name}.npy")
    rows = [{"audio": "a.wav", "mel": "a.npy", "id": "x/1", "duration": 0.5}, {"audio": "b.wav", "mel": "b.npy"}]
    (tmp_path / "list.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    assert read_manifest(tmp_path / "list.jsonl") == [
        Utterance("x/1", tmp_path / "a.wav", mel=tmp_path / "a.npy"),
        Utterance("b", tmp_path / "b.wav", mel=tmp_path / "b.npy"),
    ]


@pytest.mark.parametrize("name", ["again.csv", "again.jsonl"])
def test_what_is_written_is_what_is_read(tmp_path, name):
    inside, outside = write(tmp_path / "in" / "a, b.wav"), write(tmp_path / "out" / "c.wav")
    said = [
        Utterance("first", inside, speaker="anna", mel=touch(tmp_path / "in" / "a.npy"), part="train"),
        Utterance("second", outside, speaker="Öre", mel=touch(tmp_path / "in" / "c.npy"), part="validation"),
    ]
    file = tmp_path / "in" / name
    write_manifest(file, said, {"first": 'She said "no",\nI think.'})
    assert read_manifest(file) == said
    assert read_transcripts(file, said)["first"].startswith('She said "no"')
    (tmp_path / "in").rename(tmp_path / "moved")  # what lies beside a manifest moves with it, what lies elsewhere stays
    assert [u.path for u in read_manifest(tmp_path / "moved" / name)] == [tmp_path / "moved" / "a, b.wav", outside]


def test_names_with_blanks_at_an_end_are_kept_in_jsonl_and_refused_in_csv(tmp_path):
    said = [Utterance(" a ", write(tmp_path / " a .wav"), speaker="anna ")]
    write_manifest(tmp_path / "list.jsonl", said, {})
    assert read_manifest(tmp_path / "list.jsonl") == said
    with pytest.raises(CorpusError, match=r"must not begin or end with a blank, but 3 for .*' a \.wav' first\. Write"):
        write_manifest(tmp_path / "list.csv", said, {})
    assert not (tmp_path / "list.csv").exists()


@pytest.mark.parametrize("path", [path for path in OUTSIDE if path not in ("", "/outside", "a\0b")])
@pytest.mark.parametrize("column", ["audio", "mel"])
def test_a_relative_path_does_not_lead_out_of_the_manifest_s_folder(tmp_path, path, column):
    touch(tmp_path / "outside")
    folder = tmp_path / "corpus"
    write(folder / "a.wav")
    cells = {"audio": "a.wav", "mel": "a.wav", column: path}
    file = manifest(folder, ",".join(cells.values()), head=",".join(cells))
    with pytest.raises(CorpusError, match=r"must stay in the manifest's folder, but line 2 of .*list\.csv has"):
        read_manifest(file)


@pytest.mark.parametrize("id_", [id_ for id_ in OUTSIDE if id_ not in ("", "a\0b")])
def test_an_id_does_not_lead_out_of_a_folder(tmp_path, id_):
    write(tmp_path / "a.wav")
    with pytest.raises(CorpusError, match=r"must name a file inside its corpus.*in a manifest the column `id`"):
        read_manifest(manifest(tmp_path, f"a.wav,{id_}", head="audio,id"))


def test_an_absolute_path_is_read_and_its_id_stays_inside(tmp_path):
    audio = write(tmp_path / "elsewhere" / "a.wav")
    (tmp_path / "corpus").mkdir()
    [utterance] = read_manifest(manifest(tmp_path / "corpus", str(audio), head="audio"))
    assert (utterance.path, utterance.id) == (audio, str(audio)[1:].removesuffix(".wav"))


FAULTS = {
    "no rows": ((), HEAD, r"must have a row for each recording, but .* has none"),
    "no head": (
        ("a.wav,anna,train,",),
        "b.wav,bob,train,",
        r"must have a column `audio`, but .* has b\.wav, bob",
    ),
    "misspelt": (("a.wav,anna",), "audio,speakr", r"has a column `speakr`\. Is it `speaker`\?"),
    "no audio": (("a.wav,anna,,", ",anna,,"), HEAD, r"must name its `audio`, but line 3 of"),
    "short": (("a.wav,anna",), HEAD, r"as many cells as its head \(4\), but line 2 of .* has not"),
    "long": (("a.wav,anna,train,Well, hello.",), HEAD, r"as many cells as its head \(4\), but line 2 of .* has not"),
    "same id": (("a.wav,x", "b.wav,x"), "audio,id", r"must be in a manifest once, but x is on lines 2 and 3 of"),
    "same file": (("a.wav,x", "b.wav,y", "a.wav,z"), "audio,id", r"a\.wav is on lines 2 and 4 of"),
    "gone": (
        ("a.wav,,,", "c.wav,,,", "d.wav,,,"),
        HEAD,
        r"2 of 3 that .* are not, the first on line 3: .*c\.wav\.",
    ),
    "split": (("a.wav,,dev,",), HEAD, r"one of validation, test, train, but is 'dev' on line 2"),
    "half split": (("a.wav,,train,", "b.wav,,,"), HEAD, r"a `split`, or none, but of .* 1 of 2 have none, b first"),
    "half mel": (("a.wav,a.wav", "b.wav,"), "audio,mel", r"a `mel`, or none, but of .* 1 of 2 have none, b first"),
}


@pytest.mark.parametrize(("rows", "head", "message"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_with_a_manifest_is_said_in_a_sentence(tmp_path, rows, head, message):
    for name in "ab":
        write(tmp_path / f"{name}.wav")
    with pytest.raises(CorpusError, match=message):
        read_corpus(manifest(tmp_path, *rows, head=head))


@pytest.mark.parametrize("line", ["[1, 2]", "{", '"text"'])
def test_a_line_that_is_no_object_is_named(tmp_path, line):
    (tmp_path / "list.jsonl").write_text(f'{{"audio": "a.wav"}}\n{line}\n')
    with pytest.raises(CorpusError, match=r"must be an object, but line 2 of .*list\.jsonl is none"):
        read_manifest(tmp_path / "list.jsonl")


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"audio\n\xff\xfe\n")
    with pytest.raises(CorpusError, match=r"must be text in UTF-8, but .*list\.csv is not"):
        read_manifest(tmp_path / "list.csv")


def test_splits_that_leave_nothing_to_train_on_or_to_validate_are_refused():
    declared = [Utterance(str(n), Path("unread"), part=part) for n, part in enumerate(("train", "train", "test"))]
    with pytest.raises(CorpusError, match="must have some for validation, but has none"):
        split(declared)


def test_every_column_is_written_and_read():
    assert set(COLUMNS) == {"audio", "mel", "speaker", "split", "text", "id"}
