"""The mels of other projects: named dialects, each read in the project's own source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.constants import DECIBELS
from vocoder.features.values import log_bands


@dataclass(frozen=True)
class Dialect:
    """A named dialect.

    Attributes:
        mel: Its numbers.
        about: The projects that use it, in a line.
        source: Where the numbers were read: the project, and the file in it.
        aliases: Other names of the very same dialect.
        statistics: What goes from model to model is usually normalised by each band's mean and deviation in a corpus,
            which come with the model.
    """

    mel: MelConfig
    about: str
    source: str
    aliases: tuple[str, ...] = ()
    statistics: bool = False


def _of(base: MelConfig, **changes: Any) -> MelConfig:
    return dataclasses.replace(base, **changes)


# Lengths of transform, window and hop.
_2048_1100_275 = {"n_fft": 2048, "win_length": 1100, "hop_length": 275}
_2048_1200_300 = {"n_fft": 2048, "win_length": 1200, "hop_length": 300}
_2048_2048_512 = {"n_fft": 2048, "win_length": 2048, "hop_length": 512}
_800_800_200 = {"n_fft": 800, "win_length": 800, "hop_length": 200}
_1920_1920_480 = {"n_fft": 1920, "win_length": 1920, "hop_length": 480}

_HTK = {"mel_scale": "htk", "mel_norm": "none"}
_0_TO_1 = {"log": "db", "shift": -100.0, "scale": 100.0, "clip": (0.0, 1.0)}  # from -100 … 0 dB
_4_TO_4 = {"log": "db", "shift": -30.0, "scale": 12.5, "clip": (-4.0, 4.0)}  # from -80 … 20 dB
_LOG1P = {"f_max": 11_025.0, "mel_norm": "none", "floor": 1.0}
_44K = {"sample_rate": 44_100, "f_max": 22_050.0}

_HIFIGAN = MelConfig()
_COSYVOICE2 = _of(_HIFIGAN, sample_rate=24_000, **_1920_1920_480)
_BIGVGAN_44K = _of(_HIFIGAN, n_mels=128, **_44K)
_TACOTRON2 = _of(_HIFIGAN, framing="centered", power_epsilon=0.0)
_PARALLEL_WAVEGAN = _of(_TACOTRON2, f_min=80.0, f_max=7600.0, log="log10", floor=1e-10, layout="frames_first")
# lws divides its window, and so all bands, by the root of 2; and before r9y9's first frame it has one more.
_LWS = {"window": "sine", "floor": 2**0.5 * 1e-5, "shift": -80 + 10 * math.log10(2), "edges": "zero"}
_R9Y9_V0 = _of(_TACOTRON2, f_min=125.0, f_max=7600.0, **{**_0_TO_1, **_LWS}, layout="frames_first")
_WAVERNN = _of(_TACOTRON2, f_min=40.0, f_max=11_025.0, **_2048_1100_275)
_VOCOS = _of(_TACOTRON2, sample_rate=24_000, n_mels=100, f_max=12_000.0, floor=1e-7, **_HTK)
# torchaudio takes the sample rate for 16 kHz unless told otherwise.
_STYLETTS2 = _of(_TACOTRON2, sample_rate=24_000, filterbank_sample_rate=16_000, power=2.0, **_2048_1200_300, **_HTK)
_NEMO_HIFIGAN = _of(_HIFIGAN, power_epsilon=0.0, window="hann_symmetric", edges="zero")
_NEMO_FASTPITCH = _of(_NEMO_HIFIGAN, framing="centered", guard="add")
_RAYHANE = _of(_TACOTRON2, f_min=55.0, f_max=7600.0, pre_emphasis=0.97, **_4_TO_4)

CATALOGUE: Mapping[str, Dialect] = MappingProxyType(
    {
        "tacotron2": Dialect(
            _TACOTRON2,
            "NVIDIA Tacotron 2, WaveGlow and FastPitch; SpeechBrain",
            "NVIDIA/tacotron2 layers.py",
            ("waveglow", "fastpitch-dle", "speechbrain", "torchaudio-griffinlim"),
        ),
        "hifigan": Dialect(
            _HIFIGAN,
            "HiFi-GAN; BigVGAN 22 kHz, CosyVoice 1, Matcha-TTS denormalised",
            "jik876/hifi-gan meldataset.py",
            ("bigvgan-22k", "cosyvoice", "matcha"),
        ),
        "matcha-ljspeech": Dialect(
            _of(_HIFIGAN, shift=-5.536622, scale=2.116101),
            "Matcha-TTS, normalised by LJSpeech's published statistics",
            "shivammehta25/Matcha-TTS configs/data/ljspeech.yaml",
        ),
        "bigvgan-22k-full": Dialect(
            _of(_HIFIGAN, f_max=11_025.0),
            "BigVGAN v2 22 kHz, full band",
            "NVIDIA/BigVGAN configs/bigvgan_v2_22khz_80band_256x.json",
        ),
        "bigvgan-24k": Dialect(
            _of(_HIFIGAN, sample_rate=24_000, n_mels=100, f_max=12_000.0),
            "BigVGAN 24 kHz; F5-TTS for BigVGAN",
            "NVIDIA/BigVGAN configs/bigvgan_v2_24khz_100band_256x.json",
            ("f5-tts-bigvgan",),
        ),
        "bigvgan-44k": Dialect(
            _BIGVGAN_44K, "BigVGAN v2 44.1 kHz, hop 256", "NVIDIA/BigVGAN configs/bigvgan_v2_44khz_128band_256x.json"
        ),
        "bigvgan-44k-512": Dialect(
            _of(_BIGVGAN_44K, **_2048_2048_512),
            "BigVGAN v2 44.1 kHz, hop 512",
            "NVIDIA/BigVGAN configs/bigvgan_v2_44khz_128band_512x.json",
        ),
        "cosyvoice2": Dialect(
            _COSYVOICE2, "CosyVoice 2", "FunAudioLLM/CosyVoice examples/libritts/cosyvoice2/conf/cosyvoice2.yaml"
        ),
        "cosyvoice3": Dialect(
            _of(_COSYVOICE2, f_max=12_000.0),
            "CosyVoice 3",
            "FunAudioLLM/CosyVoice examples/libritts/cosyvoice3/conf/cosyvoice3.yaml",
        ),
        "parallel-wavegan": Dialect(
            _PARALLEL_WAVEGAN,
            "ParallelWaveGAN, LJSpeech",
            "kan-bayashi/ParallelWaveGAN parallel_wavegan/bin/preprocess.py",
            statistics=True,
        ),
        "parallel-wavegan-24k": Dialect(
            _of(_PARALLEL_WAVEGAN, sample_rate=24_000, **_2048_1200_300),
            "ParallelWaveGAN, LibriTTS, VCTK and JSUT",
            "kan-bayashi/ParallelWaveGAN parallel_wavegan/bin/preprocess.py",
            statistics=True,
        ),
        "espnet": Dialect(
            _of(_PARALLEL_WAVEGAN, power_floor=1e-10),
            "ESPnet 2 TTS, LJSpeech",
            "espnet/espnet espnet2/tts/feats_extract/log_mel_fbank.py",
            statistics=True,
        ),
        "speecht5": Dialect(
            _of(_PARALLEL_WAVEGAN, sample_rate=16_000),
            "SpeechT5",
            "huggingface/transformers src/transformers/models/speecht5/feature_extraction_speecht5.py",
        ),
        "r9y9": Dialect(
            _of(_PARALLEL_WAVEGAN, f_min=125.0), "r9y9's WaveNet", "r9y9/wavenet_vocoder audio.py", statistics=True
        ),
        "r9y9-v0.1.1": Dialect(_R9Y9_V0, "r9y9's WaveNet up to v0.1.1", "r9y9/wavenet_vocoder audio.py, tag v0.1.1"),
        "wavernn": Dialect(
            _of(_WAVERNN, **_0_TO_1),
            "fatchord's WaveRNN; torchaudio's, inside its vocoder",
            "fatchord/WaveRNN utils/dsp.py",
            ("wavernn-torchaudio",),
        ),
        "tacotron2-wavernn": Dialect(
            _WAVERNN,
            "torchaudio's Tacotron 2 for WaveRNN",
            "pytorch/audio examples/pipeline_tacotron2/train.py",
        ),
        "coqui": Dialect(
            _of(_TACOTRON2, f_max=11_025.0, floor=1e-8, **_4_TO_4),
            "Coqui TTS's default: Glow-TTS and HiFi-GAN recipes",
            "coqui-ai/TTS TTS/config/shared_configs.py",
        ),
        "coqui-ddc": Dialect(
            _of(_TACOTRON2, floor=1e-8),
            "Coqui TTS's Tacotron 2 DDC, LJSpeech",
            "coqui-ai/TTS recipes/ljspeech/tacotron2-DDC/train_tacotron_ddc.py",
        ),
        "vocos-24k": Dialect(_VOCOS, "Vocos 24 kHz", "gemelo-ai/vocos vocos/feature_extractors.py"),
        "f5-tts": Dialect(_of(_VOCOS, floor=1e-5), "F5-TTS for Vocos", "SWivid/F5-TTS src/f5_tts/model/modules.py"),
        "styletts2": Dialect(
            _of(_STYLETTS2, guard="add", shift=-4.0, scale=4.0),
            "StyleTTS 2 and StarGANv2-VC",
            "yl4579/StyleTTS2 meldataset.py",
        ),
        "nemo-hifigan": Dialect(
            _NEMO_HIFIGAN,
            "NeMo's HiFi-GAN, UnivNet and Tacotron 2",
            "NVIDIA/NeMo examples/tts/conf/hifigan/hifigan.yaml",
        ),
        "nemo-hifigan-44k": Dialect(
            _of(_NEMO_HIFIGAN, **_44K, **_2048_2048_512),
            "NeMo's HiFi-GAN, 44.1 kHz",
            "NVIDIA/NeMo examples/tts/conf/hifigan/hifigan_44100.yaml",
        ),
        "nemo-fastpitch": Dialect(
            _NEMO_FASTPITCH, "NeMo's FastPitch", "NVIDIA/NeMo examples/tts/conf/fastpitch_align_v1.05.yaml"
        ),
        "nemo-fastpitch-44k": Dialect(
            _of(_NEMO_FASTPITCH, **_44K, **_2048_2048_512),
            "NeMo's FastPitch, 44.1 kHz",
            "NVIDIA/NeMo examples/tts/conf/fastpitch_align_44100.yaml",
        ),
        "nemo-22k": Dialect(
            _of(_NEMO_FASTPITCH, **_LOG1P),
            "NeMo's newer FastPitch: ln(1 + band)",
            "NVIDIA/NeMo examples/tts/conf/fastpitch/fastpitch_22050.yaml",
        ),
        "nemo-44k": Dialect(
            _of(_NEMO_FASTPITCH, **{**_LOG1P, **_44K, **_2048_2048_512}),
            "NeMo's newer FastPitch, 44.1 kHz",
            "NVIDIA/NeMo examples/tts/conf/fastpitch/fastpitch_44100.yaml",
        ),
        "nv-wavenet": Dialect(
            _of(_TACOTRON2, sample_rate=16_000, **_800_800_200),
            "NVIDIA's nv-wavenet",
            "NVIDIA/nv-wavenet pytorch/mel2samp_onehot.py",
        ),
        "rayhane": Dialect(
            _of(_RAYHANE, power=2.0, edges="zero", **_2048_1100_275),
            "Rayhane Mamah's Tacotron 2",
            "Rayhane-mamah/Tacotron-2 datasets/audio.py",
        ),
        "real-time-voice-cloning": Dialect(
            _of(_RAYHANE, sample_rate=16_000, **_800_800_200),
            "Real-Time Voice Cloning",
            "CorentinJ/Real-Time-Voice-Cloning synthesizer/audio.py",
            ("rtvc",),
        ),
    }
)

# Each name's numbers, the aliases' too.
DIALECTS: Mapping[str, MelConfig] = MappingProxyType(
    {name: dialect.mel for name, dialect in CATALOGUE.items()}
    | {alias: dialect.mel for dialect in CATALOGUE.values() for alias in dialect.aliases}
)


# What recorded speech is like, read in its own dialect: the peak, under which 99.9 % of the values lie, and how far
# below it the third quartile is. Of two voices, over all presets.
PEAK_DB, PEAK_VARIES = -2.0, 10.0
DEPTH_DB, DEPTH_VARIES = 35.0, 5.0
UNNORMED = 30.0  # how much higher a filter of unit height is than one of unit area, in the low bands


def guess_dialect(mel: Tensor | np.ndarray, n_mels: int | None = None) -> list[str]:
    """List the presets that could have made a mel of speech.

    Judged by the number of bands, by the values' range and what they pile up at, and by whether loudness and dynamics,
    read in a preset, are those of speech. Values do not tell sample rate, hop length, window, framing, edges,
    pre-emphasis and the bands' limits: presets that differ in nothing else (`tacotron2`, `hifigan`, `nv-wavenet`, …;
    `coqui`, `real-time-voice-cloning`) come in the catalogue's order. Only near silence do they tell the floor
    (`coqui-ddc` from `tacotron2`), and hardly that it was added (`nemo-fastpitch`). Mels that each band's statistics
    have normalised tell no more than that.

    Args:
        mel: The mel of a second or more of speech; any shape with an axis of the bands among the last two.
        n_mels: The number of bands; None for the length of either axis.

    Returns:
        The names in the catalogue, the most plausible first; none if it is no preset's.

    Raises:
        ValueError: The mel is empty, or has no two axes.
    """
    values = torch.as_tensor(mel).detach().double()
    if values.ndim < 2 or not values.numel():
        raise ValueError(
            f"`mel` must have an axis of bands and one of frames, none of them empty, but has shape "
            f"{tuple(values.shape)}. Pass the mel of a second or more of speech."
        )
    bands = set(values.shape[-2:]) if n_mels is None else {n_mels}
    levels = _find_levels(values)
    scores = {
        name: _implausibility(values, levels, dialect)
        for name, dialect in CATALOGUE.items()
        if dialect.mel.n_mels in bands
    }
    best = min(scores.values(), default=0.0)
    # A difference of one is no evidence.
    return sorted((name for name in scores if scores[name] < 12), key=lambda name: max(scores[name], best + 1))


class _Levels(NamedTuple):
    """The values of a mel by which presets are judged; found once, for all presets read larger values as louder.

    Attributes:
        lowest: The lowest value.
        highest: The highest value.
        piled: Whether more than one in a thousand are the lowest.
        peak: The value that one in a thousand exceeds.
        quartile: The value that one in four exceeds.
    """

    lowest: Tensor
    highest: Tensor
    piled: bool
    peak: Tensor
    quartile: Tensor


def _find_levels(values: Tensor) -> _Levels:
    flat = values.flatten()
    lowest = flat.min()
    peak, quartile = (flat.kthvalue(math.ceil(share * len(flat))).values for share in (0.999, 0.75))
    return _Levels(lowest, flat.max(), bool((flat == lowest).double().mean() > 1e-3), peak, quartile)


def _implausibility(values: Tensor, levels: _Levels, dialect: Dialect) -> float:
    """In squared standard deviations, roughly."""
    if dialect.statistics and _is_normalised(values, dialect.mel.n_mels):
        return -10.0
    (low, high), mel = dialect.mel.value_range, dialect.mel
    slack = 0.02 * (high - low)
    if levels.lowest < low - slack or levels.highest > high + slack:
        return math.inf
    floored = abs(levels.lowest - low) < slack / 2
    return _unlike_speech(levels, mel) + (-4.0 if floored else 12.0 if levels.piled else 0.0)


def _is_normalised(values: Tensor, n_mels: int) -> bool:
    """Each band has its mean near 0 and its deviation near 1."""
    by_band = values.movedim(-2 if values.shape[-2] == n_mels else -1, 0).flatten(1)
    means, deviation = by_band.mean(dim=1), by_band.std(dim=1, correction=0).mean()
    return bool(means.abs().mean() < 0.5 and means.std(correction=0) < 0.3 and 0.6 < deviation < 1.5)


def _unlike_speech(levels: _Levels, mel: MelConfig) -> float:
    magnitudes = log_bands(torch.stack([levels.peak, levels.quartile]), mel) / mel.power
    magnitudes = magnitudes - (math.log(UNNORMED) if mel.mel_norm == "none" else 0.0)
    peak, quartile = DECIBELS * magnitudes
    return float(((peak - PEAK_DB) / PEAK_VARIES) ** 2 + ((peak - quartile - DEPTH_DB) / DEPTH_VARIES) ** 2)
