"""What the campaign throws at what reads corpora: lists, trees of folders, mels beside recordings, sets of mels."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from campaign import damage
from campaign.damage import Rng, pick
from campaign.judge import Generator, judge_waveform, refused, require
from conftest import speech_like_mel, tiny_mel_config
from vocoder.bundles.bundle import save_bundle
from vocoder.data import given_mels
from vocoder.data.corpora import Utterance, split_each
from vocoder.data.layouts import name_speakers, read_corpus, read_transcripts
from vocoder.data.manifest import COLUMNS, read_texts, write_manifest
from vocoder.data.pairing import check_pairs
from vocoder.features.mel import LogMelSpectrogram

RATE, HOP = 8000, 16


def judge_corpus(corpus: list[Utterance]) -> None:
    """Divide it and name its speakers: nobody is lost, and nobody is in two parts."""
    ids = [utterance.id for utterance in corpus]
    require(len(set(ids)) == len(ids), "an id is there twice")
    for by_speaker in (False, True):
        parts = refused(lambda by_speaker=by_speaker: split_each({"corpus": corpus}, by_speaker=by_speaker))
        found = sorted(u.id for part in (parts or {}).values() for u in part)
        require(parts is None or found == sorted(ids), f"of {ids} the parts hold {found}")
    named = refused(lambda: name_speakers({"corpus": corpus}))
    require(named is None or all(u.speaker for u in named["corpus"]), "a speaker without a name")


class Manifests(Generator):
    """A corpus as a list, in CSV or JSONL; what is read is written again, and read again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "wavs").mkdir()
        for name in ("a", "b", "é ü"):
            soundfile.write(folder / "wavs" / f"{name}.wav", np.zeros(10), RATE)
            np.save(folder / "wavs" / f"{name}.npy", np.zeros((8, 2), np.float32))
        self.head = ",".join(COLUMNS)
        cells = [
            ("wavs/a.wav", "wavs/a.npy", "anna", "train", "One, two.", "a"),
            ("wavs/b.wav", "wavs/b.npy", "bob", "validation", 'He said "no".', "x/b"),
            ("wavs/é ü.wav", "", "é", "test", "", ""),
            (str(folder / "wavs" / "a.wav"), "", "", "", "full", "c"),
            ("../outside.wav", "", "", "", "", "d"),
            ("/etc/passwd", "", "", "", "", "../e"),
            ("wavs/a.wav", "", "anna", "", "", ".."),
        ]
        self.lines = [",".join(f'"{cell}"' if "," in cell else cell for cell in row) for row in cells]
        self.rows = [{k: v for k, v in zip(COLUMNS, row, strict=True) if v} for row in cells]

    def draw(self, rng: Rng) -> tuple[Path, str]:
        if rng.random() < 0.5:  # whole, or nearly
            chosen = [int(index) for index in rng.permutation(4)[: int(rng.integers(1, 5))]]
            names = [name for name in COLUMNS if name == "audio" or rng.random() < 0.5]
            rows = [{name: self.rows[index].get(name, "") for name in names} for index in chosen]
            lines = [json.dumps(row) for row in rows]
            if rng.random() < 0.5:
                return self.folder / "list.jsonl", "\n".join(lines)
            quoted = ["{}".format(",".join('"' + v.replace('"', '""') + '"' for v in row.values())) for row in rows]
            return self.folder / "list.csv", "\n".join([",".join(names), *quoted])
        if rng.random() < 0.5:
            head = self.head if rng.random() < 0.7 else damage.text(rng, [self.head, "id|speaker|text", "audio"])
            return self.folder / "list.csv", f"{head}\n{damage.text(rng, self.lines)}"
        rows = [pick(rng, self.rows) for _ in range(int(rng.integers(1, 5)))]
        lines = [json.dumps(damage.tree(rng, row) if rng.random() < 0.5 else row) for row in rows]
        return self.folder / "list.jsonl", damage.text(rng, lines) if rng.random() < 0.3 else "\n".join(lines)

    def case(self, rng: Rng) -> None:
        file, text = self.draw(rng)
        file.write_text(text, encoding="utf-8", newline="")
        if rng.random() < 0.15:
            file.write_bytes(damage.content(rng, file.read_bytes()))
        corpus = refused(lambda: read_corpus(file))
        if corpus is None:
            return
        for path in [u.path for u in corpus] + [u.mel for u in corpus if u.mel]:
            inside = self.folder.resolve() in path.resolve().parents
            require(inside or (path.is_absolute() and path.name in text), f"{path} lies outside, unasked")
        judge_corpus(corpus)
        texts = read_texts(file)
        require(set(texts) <= {u.id for u in corpus}, f"texts of {sorted(texts)}")
        again = self.folder / pick(rng, ("again.csv", "again.jsonl"))
        write_manifest(again, corpus, texts)
        require(read_corpus(again) == corpus, "written and read again it is another")
        require(read_texts(again) == texts, "written and read again its texts are others")


class Layouts(Generator):
    """A folder of any folders and files, those among them that make it one of the layouts that are known."""

    folders = ("wavs", "wav48_silence_trimmed", "txt", "p225", "p226", "train-clean-100", "dev-clean", "84", "121123",
               "é", " a", "a ", "a,b", 'a"b', "a\nb", "-x", ".hidden", "x.wav", "anna")  # fmt: skip
    files = ("a.wav", "a.flac", "b.WAV", "p225_001_mic1.flac", "p225_001_mic2.flac", "p225_001.txt", "é.wav", " b.wav",
             "c .wav", "d,e.wav", "f\ng.wav", 'h"i.wav', "-j.wav", ".k.wav", "l.m4a", "84_1.wav", "84_1.normalized.txt",
             "metadata.csv", "m|n.wav", "o.p.wav", "..wav", b"\xff.wav".decode(errors="surrogateescape"))  # fmt: skip

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        soundfile.write(folder / "sound.wav", np.zeros(10), RATE)
        self.sound = (folder / "sound.wav").read_bytes()
        self.rows = ["a|one|two", "id|speaker|text", "a|anna|one", "b||two", "é|bob|three", "../x|y", "|"]

    def case(self, rng: Rng) -> None:
        root = self.folder / "corpus"
        shutil.rmtree(root, ignore_errors=True)
        for _ in range(int(rng.integers(1, 8))):
            path = root.joinpath(*(pick(rng, self.folders) for _ in range(int(rng.integers(4)))), pick(rng, self.files))
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                text = damage.text(rng, self.rows).encode() if path.suffix in (".csv", ".txt") else self.sound
                path.write_bytes(text)
            except OSError:  # a file where a folder would have to be
                continue
        root.mkdir(exist_ok=True)
        corpus = refused(lambda: read_corpus(root))
        if corpus is None:
            return
        for utterance in corpus:
            require(root.resolve() in utterance.path.resolve().parents, f"{utterance.path} lies outside")
        judge_corpus(corpus)
        texts = read_transcripts(root, corpus)
        file = root / pick(rng, ("list.csv", "list.jsonl"))
        there = [utterance for utterance in corpus if utterance.path.is_file()]
        blanks = any(name != name.strip() for u in there for name in (u.id, u.speaker))
        written = refused(lambda: write_manifest(file, there, texts) or file) if there else None
        if written is None:
            require(not there or (blanks and file.suffix == ".csv"), "it cannot be written as a manifest")
            return
        again = {u.id: (u.path, u.speaker) for u in read_corpus(file)}
        require(again == {u.id: (u.path, u.speaker) for u in there}, "its manifest lists another corpus")


class GivenMels(Generator):
    """Mels beside recordings, of any length, shape, shift and kind: what is trained on lies within both."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "wavs").mkdir()
        random = np.random.default_rng(0)
        self.mels = {}
        for index in range(4):
            waveform = 0.1 * random.standard_normal(600 + 100 * index) * np.hanning(600 + 100 * index)
            soundfile.write(folder / "wavs" / f"{index}.wav", waveform, RATE)
            waveform, _ = soundfile.read(folder / "wavs" / f"{index}.wav", dtype="float32")
            self.mels[str(index)] = LogMelSpectrogram(tiny_mel_config())(torch.from_numpy(waveform)[None])[0].numpy()
        self.corpus = read_corpus(folder / "wavs")

    def draw(self, rng: Rng, mel: Any) -> Any:
        frames = mel.shape[1]
        kind = int(rng.integers(8))
        if kind == 0:
            mel = np.pad(mel, ((0, 0), (int(rng.integers(4)), int(rng.integers(8)))), mode="edge")
        elif kind == 1:
            mel = mel[:, int(rng.integers(frames)) :]
        elif kind == 2:
            mel = mel[None]
        elif kind == 3:
            mel = pick(rng, (mel[:0], mel[:, :0], mel[:5], mel[0], mel * 1e30, mel + 100, -mel, mel.astype(np.int16)))
        elif kind == 4:
            mel = mel.copy()
            mel.flat[int(rng.integers(mel.size))] = pick(rng, (np.nan, np.inf, 1e38))
        mel = mel if rng.random() < 0.8 else mel.T
        return mel.astype(pick(rng, ("<f4", ">f4", "<f8", "<f2"))) if mel.dtype.kind == "f" else mel

    def case(self, rng: Rng) -> None:
        folder = self.folder / "mels"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "corpus").mkdir(parents=True)
        for name, mel in self.mels.items():
            if rng.random() < 0.1:
                continue
            path = folder / pick(rng, ("", "", "corpus")) / f"{name}.npy"
            with np.errstate(all="ignore"):
                np.save(path, self.draw(rng, mel) if rng.random() < 0.5 else mel)
            if rng.random() < 0.1:
                path.write_bytes(damage.content(rng, path.read_bytes()))
        found = refused(lambda: given_mels.find_mels({"corpus": self.corpus}, folder))
        if found is None:
            return
        utterances = [replace(u, samples=soundfile.info(u.path).frames, file_rate=RATE) for u in found[0]["corpus"]]
        dialect = given_mels.find_layout(utterances, tiny_mel_config())
        mels = given_mels.GivenMels(dialect, margin_frames=3)
        shift = float(pick(rng, (0, 0, 0, 0.5, -0.5, 1, -2, 7.5, -31, 1e3, -1e3, 0.3, 1e300, -1e300, np.nan, np.inf)))
        laid = refused(lambda: given_mels.lay_beside(utterances, mels, shift))
        if laid is None:
            return
        require(len(laid[0]) + len(laid[1]) == len(utterances), "some are neither usable nor not")
        if laid[0]:
            refused(lambda: check_pairs(laid[0], mels, shift))
        for utterance in laid[0]:
            self.judge(utterance, mels, rng)

    def judge(self, utterance: Utterance, mels: given_mels.GivenMels, rng: Rng) -> None:
        frames, rest = divmod(utterance.samples, HOP)
        whole = soundfile.info(utterance.path).frames
        require(rest == 0 and frames >= 1, f"{utterance.samples} samples are no frames")
        require(utterance.start >= 0 and utterance.start + utterance.samples <= whole, f"{utterance} of {whole}")
        start = int(rng.integers(frames))
        count = int(rng.integers(1, frames - start + 1))
        piece = mels.cut(utterance, start, count, frames)
        require(piece.shape == (8, count + 6) and bool(piece.isfinite().all()), f"a piece of {tuple(piece.shape)}")


class Predictions(Generator):
    """`vocoder predict` of a few files, some of them damaged: all others are made, as `infer` makes them."""

    share = 0.1

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.model = self.models["eight a step"]
        save_bundle(folder / "bundle", self.model.config, self.model.network)
        self.whole = [speech_like_mel(self.model.mel, frames)[0].numpy() for frames in (1, 5, 9)]

    def case(self, rng: Rng) -> None:
        from vocoder.cli.predict import _read
        from vocoder.training.predict import Synthesis, Waveforms, predict

        for place in ("in", "out"):
            shutil.rmtree(self.folder / place, ignore_errors=True)
            (self.folder / place).mkdir()
        outputs = {}
        for index in range(int(rng.integers(5))):
            source = self.folder / "in" / f"{index}.npy"
            np.save(source, pick(rng, self.whole))
            if rng.random() < 0.5:
                source.write_bytes(damage.content(rng, source.read_bytes()))
            outputs[source] = self.folder / "out" / f"{index}.{pick(rng, ('wav', 'flac'))}"
        read = partial(_read, dialect=self.model.mel)
        synthesis, waveforms = Synthesis(self.model, {"seed": 3}), Waveforms(outputs)
        made = refused(lambda: predict(synthesis, waveforms, read, batch_size=int(rng.integers(1, 4))))
        if made is None:
            return
        require(made.made + len(made.problems) == len(outputs), f"{made.made} made, {made.problems}")
        there = {path.name for path in (self.folder / "out").iterdir()}
        expected = {outputs[source].name for source in outputs if source not in made.problems}
        require(there == expected, f"{sorted(there)} instead of {sorted(expected)}")
        for source in outputs.keys() - made.problems.keys():
            mel = read(source)
            samples, _ = soundfile.read(outputs[source], dtype="float32")
            whole = self.model.infer(mel, seed=3)
            judge_waveform(whole, self.model, mel.shape[-1])
            require(bool(np.abs(samples - whole.numpy()).max() <= 2**-15), f"{source.name} is not what infer makes")
