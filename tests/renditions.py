"""The mels of other projects, in NumPy and librosa, one function for each project's own formula.

Written from the projects' sources, in their order and with their words, knowing nothing of `MelConfig`: the judges of
the presets. Each takes a waveform (time,) and gives the mel in the layout in which the project hands it on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import librosa
import numpy as np
import scipy.signal
from numpy.typing import NDArray

Array = NDArray[Any]


def bank(sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float | None, **others: Any) -> Array:
    """librosa's filters; Slaney's scale and norm unless told otherwise."""
    return librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, dtype=np.float64, **others)


def frames_of(x: Array, window: Array, hop: int) -> Array:
    """Fourier transforms (n_fft / 2 + 1, frames) of what the window sees, moving from sample 0 to the end."""
    starts = range(0, len(x) - len(window) + 1, hop)
    return np.stack([np.fft.rfft(x[start : start + len(window)] * window) for start in starts], axis=1)


def tacotron2(x: Array, sr: int = 22_050, sizes: tuple[int, int, int] = (1024, 256, 1024), fmin: float = 0.0,
              fmax: float = 8000.0, floor: float = 1e-5) -> Array:  # fmt: skip
    """NVIDIA: magnitudes of a centred STFT with mirrored ends, `dynamic_range_compression`: ln of at least 1e-5."""
    n_fft, hop, win = sizes
    magnitudes = np.abs(librosa.stft(x, n_fft=n_fft, hop_length=hop, win_length=win, pad_mode="reflect"))
    return np.log(np.maximum(bank(sr, n_fft, 80, fmin, fmax) @ magnitudes, floor))


def hifigan(x: Array, sr: int = 22_050, sizes: tuple[int, int, int] = (1024, 256, 1024), n_mels: int = 80,
            fmax: float | None = 8000.0) -> Array:  # fmt: skip
    """jik876: mirrored by (n_fft - hop) / 2, sqrt(re² + im² + 1e-9), ln of at least 1e-5."""
    n_fft, hop, win = sizes
    padded = np.pad(x, (n_fft - hop) // 2, mode="reflect")
    spectrum = frames_of(padded, scipy.signal.get_window("hann", win), hop)
    magnitudes = np.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
    return np.log(np.clip(bank(sr, n_fft, n_mels, 0, fmax) @ magnitudes, 1e-5, None))


def matcha(x: Array) -> Array:
    """`normalize(mel, -5.536622, 2.116101)` of HiFi-GAN's."""
    return (hifigan(x) + 5.536622) / 2.116101


def parallel_wavegan(x: Array, sr: int = 22_050, sizes: tuple[int, int, int] = (1024, 256, 1024),
                     fmin: float = 80.0) -> Array:  # fmt: skip
    """kan-bayashi's `logmelfilterbank`, as r9y9's `logmelspectrogram`: log10 of at least 1e-10, frames first."""
    n_fft, hop, win = sizes
    magnitudes = np.abs(librosa.stft(x, n_fft=n_fft, hop_length=hop, win_length=win, pad_mode="reflect")).T
    return np.log10(np.maximum(1e-10, magnitudes @ bank(sr, n_fft, 80, fmin, 7600).T))


def espnet(x: Array) -> Array:
    """ESPnet 2: amplitudes are the root of a power of at least 1e-10, bands at least 1e-10, log10."""
    spectrum = librosa.stft(x, n_fft=1024, hop_length=256, pad_mode="reflect")
    amplitudes = np.sqrt(np.maximum(spectrum.real**2 + spectrum.imag**2, 1e-10))
    return np.log10(np.maximum(amplitudes.T @ bank(22_050, 1024, 80, 80, 7600).T, 1e-10))


def speecht5(x: Array) -> Array:
    """transformers: frames of 64 ms every 16 ms, mirrored ends, log10 of at least 1e-10, frames first."""
    spectrum = frames_of(np.pad(x, 512, mode="reflect"), scipy.signal.get_window("hann", 1024), 256)
    return np.log10(np.maximum(1e-10, np.abs(spectrum).T @ bank(16_000, 1024, 80, 80, 7600).T))


def r9y9_v0(x: Array) -> Array:
    """r9y9 v0.1.1: lws with the root of a normalised root of Hann, dB less 20, from -100 … 0 to 0 … 1.

    lws has one more frame before the first that begins in centred framing, and more at the end, which are left out.
    """
    root = np.sqrt(0.5 * (1 - np.cos(2 * np.pi * np.arange(1, 2048, 2) / 2048)))
    synthesis = root / np.tile((root**2).reshape(4, 256).sum(axis=0), 4)
    padded = np.concatenate([np.zeros(1024 - 256), x, np.zeros(2048)])
    magnitudes = np.abs(frames_of(padded, np.sqrt(root * synthesis), 256))[:, 1 : 2 + len(x) // 256]
    decibels = 20 * np.log10(np.maximum(1e-5, bank(22_050, 1024, 80, 125, 7600) @ magnitudes)) - 20
    return np.clip((decibels + 100) / 100, 0, 1).T


def wavernn(x: Array) -> Array:
    """fatchord: dB of at least 1e-5, from -100 … 0 to 0 … 1."""
    magnitudes = np.abs(librosa.stft(x, n_fft=2048, hop_length=275, win_length=1100, pad_mode="reflect"))
    decibels = 20 * np.log10(np.maximum(1e-5, bank(22_050, 2048, 80, 40, None) @ magnitudes))
    return np.clip((decibels + 100) / 100, 0, 1)


def coqui(x: Array) -> Array:
    """`amp_to_db` with gain 20 of at least 1e-8, less 20; `normalize` from -100 … 0 to -4 … 4."""
    magnitudes = np.abs(librosa.stft(x, n_fft=1024, hop_length=256, win_length=1024, pad_mode="reflect"))
    decibels = 20 * np.log10(np.maximum(1e-8, bank(22_050, 1024, 80, 0, None) @ magnitudes)) - 20
    return np.clip(8 * ((decibels + 100) / 100) - 4, -4, 4)


def vocos(x: Array, clip_val: float = 1e-7) -> Array:
    """torchaudio's defaults, HTK filters of unit height, on magnitudes; `safe_log`."""
    magnitudes = np.abs(librosa.stft(x, n_fft=1024, hop_length=256, win_length=1024, pad_mode="reflect"))
    return np.log(np.clip(bank(24_000, 1024, 100, 0, None, htk=True, norm=None) @ magnitudes, clip_val, None))


def styletts2(x: Array) -> Array:
    """torchaudio's defaults: power, and filters for 16 kHz, though the waveform has 24 kHz; (ln(1e-5 + …) + 4) / 4."""
    power = np.abs(librosa.stft(x, n_fft=2048, hop_length=300, win_length=1200, pad_mode="reflect")) ** 2
    return (np.log(1e-5 + bank(16_000, 2048, 80, 0, 8000, htk=True, norm=None) @ power) + 4) / 4


def nemo(x: Array, sr: int = 22_050, n_fft: int = 1024, fmax: float | None = 8000.0, norm: str | None = "slaney",
         guard: float | None = None, exact_pad: bool = False) -> Array:  # fmt: skip
    """FilterbankFeatures: zeros beyond the ends, symmetric window; ln of at least 1e-5, or of more by `guard`.

    NeMo then fills the last frame with `pad_value` where `exact_pad` is off: its length is time // hop.
    """
    hop = n_fft // 4
    padded = np.pad(x, (n_fft - hop) // 2 if exact_pad else n_fft // 2)
    magnitudes = np.abs(frames_of(padded, scipy.signal.windows.hann(n_fft), hop))
    bands = bank(sr, n_fft, 80, 0, fmax, norm=norm) @ magnitudes
    return np.log(np.clip(bands, 1e-5, None) if guard is None else bands + guard)


def rayhane(x: Array, sr: int = 22_050, sizes: tuple[int, int, int] = (2048, 275, 1100), power: float = 2.0,
            pad_mode: Any = "constant") -> Array:  # fmt: skip
    """Pre-emphasis, dB of at least -100, less 20; symmetric, from -100 … 0 to -4 … 4."""
    n_fft, hop, win = sizes
    emphasised = scipy.signal.lfilter([1, -0.97], [1], x)
    spectrum = librosa.stft(emphasised, n_fft=n_fft, hop_length=hop, win_length=win, pad_mode=pad_mode)
    decibels = 20 * np.log10(np.maximum(1e-5, bank(sr, n_fft, 80, 55, 7600) @ np.abs(spectrum) ** power)) - 20
    return np.clip(8 * ((decibels + 100) / 100) - 4, -4, 4)


RENDITIONS: dict[str, Callable[[Array], Array]] = {
    "tacotron2": tacotron2,
    "hifigan": hifigan,
    "matcha-ljspeech": matcha,
    "bigvgan-22k-full": partial(hifigan, fmax=None),
    "bigvgan-24k": partial(hifigan, sr=24_000, n_mels=100, fmax=None),
    "bigvgan-44k": partial(hifigan, sr=44_100, n_mels=128, fmax=None),
    "bigvgan-44k-512": partial(hifigan, sr=44_100, sizes=(2048, 512, 2048), n_mels=128, fmax=None),
    "cosyvoice2": partial(hifigan, sr=24_000, sizes=(1920, 480, 1920)),
    "cosyvoice3": partial(hifigan, sr=24_000, sizes=(1920, 480, 1920), fmax=None),
    "parallel-wavegan": parallel_wavegan,
    "parallel-wavegan-24k": partial(parallel_wavegan, sr=24_000, sizes=(2048, 300, 1200)),
    "espnet": espnet,
    "speecht5": speecht5,
    "r9y9": partial(parallel_wavegan, fmin=125.0),
    "r9y9-v0.1.1": r9y9_v0,
    "wavernn": wavernn,
    "tacotron2-wavernn": partial(tacotron2, sizes=(2048, 275, 1100), fmin=40.0, fmax=11_025.0),
    "coqui": coqui,
    "coqui-ddc": partial(tacotron2, floor=1e-8),
    "vocos-24k": vocos,
    "f5-tts": partial(vocos, clip_val=1e-5),
    "styletts2": styletts2,
    "nemo-hifigan": partial(nemo, exact_pad=True),
    "nemo-hifigan-44k": partial(nemo, sr=44_100, n_fft=2048, fmax=None, exact_pad=True),
    "nemo-fastpitch": partial(nemo, guard=1e-5),
    "nemo-fastpitch-44k": partial(nemo, sr=44_100, n_fft=2048, fmax=None, guard=1e-5),
    "nemo-22k": partial(nemo, fmax=None, norm=None, guard=1.0),
    "nemo-44k": partial(nemo, sr=44_100, n_fft=2048, fmax=None, norm=None, guard=1.0),
    "nv-wavenet": partial(tacotron2, sr=16_000, sizes=(800, 200, 800)),
    "rayhane": rayhane,
    "real-time-voice-cloning": partial(rayhane, sr=16_000, sizes=(800, 200, 800), power=1.0, pad_mode="reflect"),
}
