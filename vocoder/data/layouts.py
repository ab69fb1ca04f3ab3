"""The files of a corpus, and who speaks in them, in the layouts that people have.

- LJSpeech: `metadata.csv` beside `wavs/<id>.<any audio extension>`. A first line that names the columns,
  `id|speaker|text`, makes it say who speaks.
- VCTK 0.92: `wav48_silence_trimmed/<speaker>/<speaker>_<number>_mic1.flac`.
- LibriTTS and LibriTTS-R: `<subset>/<speaker>/<chapter>/*.wav`.
- A plain folder of audio, at any depth. Where there are several folders in it, each is a speaker.
- A manifest, `*.csv` or `*.jsonl`: see `vocoder.data.manifest`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vocoder.data.corpora import CorpusError, Utterance
from vocoder.data.manifest import SUFFIXES, read_manifest, read_texts

NATIVE_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif"})  # which libsndfile reads
FOREIGN_SUFFIXES = frozenset({".m4a", ".aac", ".mp4", ".webm", ".wma", ".mka", ".amr", ".ape", ".wv", ".dsf"})  # ffmpeg
AUDIO_SUFFIXES = NATIVE_SUFFIXES | FOREIGN_SUFFIXES

VCTK_AUDIO, VCTK_TEXT = "wav48_silence_trimmed", "txt"
VCTK_MICROPHONE = "_mic1"  # of two; every speaker has the first

# Those of LibriTTS and of LibriTTS-R. Speakers of `dev` and `test` are in no other subset.
LIBRITTS_TRAIN = ("train-clean-100", "train-clean-360", "train-other-500")
LIBRITTS_SUBSETS = (*LIBRITTS_TRAIN, "dev-clean", "dev-other", "test-clean", "test-other")


def read_corpus(root: str | Path) -> list[Utterance]:
    """List a corpus, in order of id.

    Args:
        root: A folder in one of the layouts that this module names, or a manifest.

    Raises:
        CorpusError: There is no such folder or manifest, or no audio in it.
    """
    root = Path(root).expanduser()
    if root.is_file() and root.suffix in SUFFIXES:
        return sorted(read_manifest(root), key=lambda utterance: utterance.id)
    if not root.is_dir():
        raise CorpusError(
            f"A corpus is a folder of audio, or a manifest ({', '.join(SUFFIXES)}), but there is none at "
            f"{root.absolute()}. Check its spelling (`make`: DATA=/path, `vocoder fit`: --data.root /path), or fetch "
            "LJSpeech: `vocoder download --help`."
        )
    place = "at any depth"
    if (root / "metadata.csv").is_file():
        utterances, place = _ljspeech(root), "under wavs/"
    elif (root / VCTK_AUDIO).is_dir():
        utterances, place = _vctk(root), f"named *{VCTK_MICROPHONE}, under {VCTK_AUDIO}/"
    elif subsets := _libritts_subsets(root):
        utterances, place = _libritts(root, subsets), f"under {', '.join(subsets)}"
    else:
        utterances = _folder(root)
    if not utterances:
        raise CorpusError(
            f"{root.absolute()} holds no audio: looked for files ending in {', '.join(sorted(AUDIO_SUFFIXES))} {place}."
        )
    return sorted(utterances, key=lambda utterance: utterance.id)


def read_corpora(roots: Sequence[str | Path]) -> dict[str, list[Utterance]]:
    """List several corpora, each under the name of its folder, or its manifest without the suffix.

    Raises:
        CorpusError: One cannot be listed, or two have the same name.
    """
    corpora: dict[str, list[Utterance]] = {}
    for root in roots:
        name = corpus_name(root)
        if name in corpora:
            raise CorpusError(f"Several corpora are told apart by their names, but two are called {name}. Rename one.")
        corpora[name] = read_corpus(root)
    return corpora


def corpus_name(root: str | Path) -> str:
    """Give the name of a corpus: its folder's, or its manifest's without the suffix."""
    place = Path(root).expanduser().resolve()
    return place.stem if place.suffix in SUFFIXES and not place.is_dir() else place.name


def name_speakers(corpora: Mapping[str, Sequence[Utterance]]) -> dict[str, list[Utterance]]:
    """Give every utterance its speaker; all of a corpus that names none are of one, who has the corpus' name.

    Raises:
        CorpusError: A part of a corpus has no speaker, or two corpora have one of the same name.
    """
    named: dict[str, list[Utterance]] = {}
    owners: dict[str, str] = {}
    for corpus, utterances in corpora.items():
        nameless = [u.id for u in utterances if not u.speaker]
        if 0 < len(nameless) < len(utterances):
            raise CorpusError(
                f"With speakers, each recording of a corpus must have one, but {len(nameless)} of {len(utterances)} in "
                f"{corpus} have none, {nameless[0]} say. Put each speaker's audio into a folder of its own."
            )
        named[corpus] = [replace(u, speaker=u.speaker or corpus) for u in utterances]
        for speaker in {u.speaker for u in named[corpus]}:
            if owners.setdefault(speaker, corpus) != corpus:
                raise CorpusError(
                    f"Speakers are told apart by their names, but {owners[speaker]} and {corpus} both have a speaker "
                    f"{speaker}. Rename one; if they are one person, put all into one corpus."
                )
    return named


def find_speakers(roots: Sequence[str | Path]) -> tuple[str, ...]:
    """Name all speakers of one corpus or several, in order: a model's speaker table.

    Raises:
        CorpusError: As `read_corpora` and `name_speakers`, or there are no two speakers.
    """
    corpora = name_speakers(read_corpora(roots))
    names = sorted({u.speaker for utterances in corpora.values() for u in utterances})
    if len(names) < 2:
        raise CorpusError(
            f"Speakers are asked for (data.speakers), but all of {' and '.join(corpora)} is of one, {names[0]}. Put "
            "each speaker's audio into a folder of its own within the corpus, or leave `--data.speakers` out."
        )
    return tuple(names)


def _ljspeech(root: Path) -> list[Utterance]:
    files = {path.stem: path for path in audio_files(root / "wavs")}
    rows = _read_metadata(root / "metadata.csv")
    # An id without a file stays in the list: it is reported with the unusable ones, by name.
    return [
        Utterance(id_, files.get(id_, root / "wavs" / f"{id_}.wav"), speaker=row.get("speaker", ""))
        for id_, row in rows.items()
    ]


def _read_metadata(file: Path) -> dict[str, dict[str, str]]:
    """Read LJSpeech's `metadata.csv` by id: `text`, and `speaker` if the first line names such a column."""
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    rows = [[cell.strip() for cell in line.split("|")] for line in lines if line.strip()]
    header = rows.pop(0) if rows and {"id", "speaker"} <= set(rows[0]) else []
    if header:
        named = [dict(zip(header, row, strict=False)) for row in rows]
    else:  # the text is the last column: the second, or its normalised form in the third
        named = [{"id": row[0], **({"text": row[-1]} if len(row) > 1 else {})} for row in rows]
    return {row.get("id", ""): row for row in reversed(named)}  # the first, of several with one id


def _vctk(root: Path) -> list[Utterance]:
    files = [path for path in audio_files(root / VCTK_AUDIO) if path.stem.endswith(VCTK_MICROPHONE)]
    return [
        Utterance(f"{path.parent.name}/{path.stem.removesuffix(VCTK_MICROPHONE)}", path, speaker=path.parent.name)
        for path in files
    ]


def _libritts_subsets(root: Path) -> list[str]:
    """List LibriTTS' subsets in a folder that holds nothing else; only the training subsets, if there are any."""
    folders = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if not folders or not folders <= set(LIBRITTS_SUBSETS):
        return []
    return [name for name in LIBRITTS_TRAIN if name in folders] or sorted(folders)


def _libritts(root: Path, subsets: Sequence[str]) -> list[Utterance]:
    files = [path for subset in subsets for path in audio_files(root / subset)]
    places = {path.relative_to(root).with_suffix(""): path for path in files}
    return [Utterance(place.as_posix(), path, speaker=place.parts[1]) for place, path in places.items()]


def _folder(root: Path) -> list[Utterance]:
    # One file for each id: the same sentence as wav and as flac must not end up in training and in test.
    files = {path.relative_to(root).with_suffix("").as_posix(): path for path in audio_files(root)}
    folders = {id_.split("/")[0] for id_ in files if "/" in id_}
    return [
        Utterance(id_, path, speaker=id_.split("/")[0] if len(folders) > 1 and "/" in id_ else "")
        for id_, path in files.items()
    ]


def audio_files(root: Path) -> list[Path]:
    """All audio below a folder, hidden files left out, in order of path; first what libsndfile lacks.

    So where a recording is there as m4a and as wav, the latter is what stays of files of one name.
    """
    files = [p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith(".")]
    return sorted(files, key=lambda path: (path.suffix.lower() in NATIVE_SUFFIXES, path))


def read_transcripts(root: str | Path, utterances: Sequence[Utterance]) -> dict[str, str]:
    """Read what is said, by id, from `metadata.csv` (LJSpeech), `txt/` (VCTK), `.normalized.txt` or a manifest."""
    root = Path(root).expanduser()
    if root.is_file():
        return read_texts(root)
    if (root / "metadata.csv").is_file():
        rows = _read_metadata(root / "metadata.csv").items()
        return {id_: row["text"] for id_, row in rows if "text" in row}
    texts = {u.id: path for u in utterances if (path := _transcript(root, u)).is_file()}
    return {id_: path.read_text(encoding="utf-8", errors="replace").strip() for id_, path in texts.items()}


def _transcript(root: Path, utterance: Utterance) -> Path:
    if (root / VCTK_AUDIO).is_dir():
        return root / VCTK_TEXT / f"{utterance.id}.txt"
    return utterance.path.with_suffix(".normalized.txt")
