"""What ships is what its papers say."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

from vocoder import Vocoder
from vocoder.inference.models import voices
from vocoder.inference.vocoder import DEFAULT_MODEL

SPEECH = os.environ.get("VOCODER_SPEECH")


def test_the_default_voice_ships_and_speaks() -> None:
    assert DEFAULT_MODEL in voices()
    voice = Vocoder.from_pretrained(DEFAULT_MODEL)
    waveform = voice.infer(torch.full((voice.mel.n_mels, 2), voice.mel.log_floor))
    assert waveform.shape == (2 * voice.hop_length,)
    assert waveform.abs().max() < 0.01  # silence stays near silence


@pytest.mark.skipif(SPEECH is None, reason="VOCODER_SPEECH names no folder of real speech")
def test_the_default_voice_has_the_likelihood_that_it_claims() -> None:
    pytest.importorskip("torchaudio")
    from vocoder.data.corpora import read_corpus, split
    from vocoder.features.audio import load_audio
    from vocoder.features.mel import LogMelSpectrogram

    voice = Vocoder.from_pretrained(DEFAULT_MODEL)
    nats = samples = 0.0
    for utterance in split(read_corpus(Path(SPEECH or "") / "kathleen"))["test"][:6]:
        waveform = load_audio(utterance.path, voice.sample_rate)
        waveform = waveform[: len(waveform) // voice.hop_length * voice.hop_length].unsqueeze(0)
        with torch.inference_mode():
            parameters = voice.network(waveform, voice.network.condition(LogMelSpectrogram(voice.mel)(waveform)))
        nats -= voice.network.distribution.log_prob(parameters, waveform).sum().item()
        samples += waveform.numel()
    # Six of some thirty utterances: their mean strays by 0.2 bits or so.
    assert nats / samples / math.log(2) == pytest.approx(voice.training["test_nll_bits"], abs=0.4)
