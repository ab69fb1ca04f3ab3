"""The recording that ships is what its page says."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
import torch

import vocoder
from vocoder.bundles.names import DEFAULT_MODEL
from vocoder.data.corpora import split
from vocoder.data.layouts import read_corpus, read_transcripts
from vocoder.features.audio import load_audio
from vocoder.inference.example import RECORDINGS, UTTERANCE

ROOT = Path(__file__).parents[1]
SPEECH = os.environ.get("VOCODER_SPEECH")


def test_the_mel_is_the_recording_s_in_the_default_voice_s_dialect() -> None:
    pytest.importorskip("torchaudio")
    example, voice = vocoder.example(), vocoder.Vocoder.from_pretrained(DEFAULT_MODEL)
    assert example.sample_rate == voice.sample_rate
    computed = vocoder.LogMelSpectrogram(voice.mel)(example.waveform[None])[0]
    # The last digit of float32, where another processor's Fourier transform rounds otherwise.
    torch.testing.assert_close(example.mel, computed, rtol=0, atol=1e-5)


def test_the_recording_is_as_long_as_its_copy_will_be() -> None:
    example = vocoder.example()
    bands, frames = example.mel.shape
    assert bands == 80
    assert example.waveform.shape == (256 * frames,)
    assert 3 < len(example.waveform) / example.sample_rate < 5


def test_all_of_it_is_small_and_its_licence_stands_beside_it() -> None:
    files = {file.name: file for file in RECORDINGS.rglob("*") if file.is_file()}
    assert files.keys() == {f"{UTTERANCE}.flac", f"{UTTERANCE}.npy", "metadata.csv", "README.md"}
    assert sum(file.stat().st_size for file in files.values()) < 300_000
    page = files["README.md"].read_text(encoding="utf-8")
    assert "CC0 1.0" in page
    assert vocoder.example().text in page
    assert str(tuple(vocoder.example().mel.shape)) in page


def test_it_is_a_corpus_of_one() -> None:
    [utterance] = read_corpus(RECORDINGS)
    assert utterance.id == UTTERANCE
    assert torch.equal(load_audio(utterance.path, vocoder.example().sample_rate), vocoder.example().waveform)
    assert read_transcripts(RECORDINGS, [utterance]) == {UTTERANCE: vocoder.example().text}


@pytest.mark.skipif(SPEECH is None, reason="VOCODER_SPEECH names no folder of real speech")
def test_no_voice_was_trained_on_it_nor_on_another_reading_of_its_sentence() -> None:
    corpus = Path(SPEECH or "") / "kathleen"
    utterances = read_corpus(corpus)
    texts = read_transcripts(corpus, utterances)
    [found] = [utterance for utterance in split(utterances)["test"] if utterance.id == UTTERANCE]
    example = vocoder.example()
    assert texts[UTTERANCE] == example.text
    assert Counter(texts.values())[example.text] == 1
    assert torch.equal(load_audio(found.path, example.sample_rate)[: len(example.waveform)], example.waveform)
