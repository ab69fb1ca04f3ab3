"""Bring a waveform's mel to the one that it was made from, band by band, frame by frame.

A network draws each sample, so a band's level in a frame comes out only about as it was asked for, some 3 dB off. But
the mel says what it should be. So the spectrum of each frame is multiplied by what its bands lack, and the frames are
put together again: Griffin & Lim (1984, "Signal estimation from modified short-time Fourier transform"), with the
phases, the harmonics and the noise that the network made. Overlapping frames take back a part of what their neighbours
gave, so each gives more than is missing; and another pass goes on from there. It raised the PESQ of `kathleen` from
2.58 to 3.44 (`docs/learning.md`).

The network never hears the result, so nothing can run away, and engines need not know. A sample depends on a few frames
around it: so this runs in a stream. NumPy, in float64 and row by row, gives the same bits in any chunks; its logarithm
and exponential may differ in the last digit from CPU to CPU.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vocoder.config import MelConfig, WaveformConfig
from vocoder.features.filterbank import analysis_window, mel_filterbank
from vocoder.features.mel import beyond_ends
from vocoder.features.values import denormalise, guard, normalise
from vocoder.inference.conditioner import PIECE_FRAMES, Convert
from vocoder.inference.deemphasis import Deemphasis
from vocoder.model.spectrum import LogPowerSpectrum

EAGER = 1.4  # times what is missing: less leaves more to be done, 1.8 swings beyond (PESQ and mel of strangers)
LARGEST = 1.38  # what a pass gives or takes at most, in nepers (12 dB): some mels are those of no waveform
THINNEST = 0.1  # where the squared windows add up to less of their peak, a change is made smaller
BLOCK_FRAMES = 64  # corrected at a time, in constant memory; no bit depends on it

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def correct(waveform: Tensor, mel: Tensor, config: MelConfig, passes: int = 2) -> Tensor:
    """Give a waveform whose mel is nearer to a given one.

    Args:
        waveform: The samples (frames · hop_length,), in [-1, 1].
        mel: The mel that they should have (n_mels, frames), bands first whatever the dialect's layout.
        config: The dialect.
        passes: The number of passes; 0 leaves the waveform as it is.

    Returns:
        The waveform (frames · hop_length,), float32 in [-1, 1], on the waveform's device.

    Raises:
        ValueError: The mel has other bands than the dialect, or the waveform another length than the mel.
    """
    if mel.ndim != 2 or len(mel) != config.n_mels or waveform.shape != (mel.shape[1] * config.hop_length,):
        raise ValueError(
            f"A waveform of frames · {config.hop_length} samples is corrected to a mel of ({config.n_mels}, frames), "
            f"but they have shapes {tuple(waveform.shape)} and {tuple(mel.shape)}. Cut the one to the other."
        )
    return Correction(config, passes).whole(waveform, mel[None])


def correction_latency(config: MelConfig, passes: int) -> int:
    """Give the number of samples by which the passes lag, if all samples of a frame come at once."""
    before, determined = beyond_ends(config)[0], 0
    for _ in range(passes):
        frames = (determined + before - config.n_fft) // config.hop_length + 1
        determined = frames * config.hop_length - before
    return -determined


class Correction:
    """The correction of one utterance, whose waveform and mel come in chunks.

    Args:
        config: The dialect.
        passes: The number of passes; 0 leaves the waveform as it is.
        convert: The conversion from mels as they come (1, bands, frames) to the dialect, frame by frame.

    Attributes:
        hop_length: The number of samples of a frame.
        lag: The number of samples by which it lags.
    """

    def __init__(self, config: MelConfig, passes: int, convert: Convert | None = None) -> None:
        self.hop_length, self._n_mels = config.hop_length, config.n_mels
        self.lag = correction_latency(config, passes)
        self._passes, self._convert = [Pass(config) for _ in range(passes)], convert
        # The mel of a dialect with pre-emphasis is that of the emphasised waveform: so that is what is corrected.
        self._emphasis, self._before = config.pre_emphasis, np.zeros(1)
        self._deemphasis = Deemphasis(WaveformConfig(pre_emphasis=config.pre_emphasis))

    def push(self, waveform: Tensor, mel: Tensor, *, last: bool = False) -> Tensor:
        """Take the next samples and frames.

        Args:
            waveform: The samples (time,), in [-1, 1].
            mel: The frames (1, n_mels, frames) that their mel should have; they may run ahead of the samples.
            last: No more will come; the samples are as many as the frames have.

        Returns:
            The samples that are determined by now and were not before (time,), float32 in [-1, 1], on the waveform's
            device.
        """
        if not self._passes:
            return waveform
        samples, frames = self._emphasise(waveform.double().cpu().numpy()), self._read(mel)
        for one in self._passes:
            samples = one.push(samples, frames, last=last)
        return self._deemphasis(torch.from_numpy(samples)[None])[0].clamp(-1, 1).float().to(waveform.device)

    def whole(self, waveform: Tensor, mel: Tensor) -> Tensor:
        """Correct an utterance that is there as a whole, piece by piece: float64 takes twice its memory.

        Args:
            waveform: The samples (frames · hop_length,), in [-1, 1].
            mel: The frames (1, n_mels, frames) that their mel should have.
        """
        if not self._passes:
            return waveform
        pieces = []
        for start in range(0, mel.shape[-1], PIECE_FRAMES):
            stop = min(start + PIECE_FRAMES, mel.shape[-1])
            samples = waveform[start * self.hop_length : stop * self.hop_length]
            pieces.append(self.push(samples, mel[..., start:stop], last=stop == mel.shape[-1]))
        return torch.cat(pieces)

    def _emphasise(self, samples: Array) -> Array:
        """Compute x[t] - pre_emphasis · x[t-1], going on where it stopped."""
        known = np.concatenate([self._before, samples])
        self._before = known[-1:]
        return known[1:] - self._emphasis * known[:-1]

    @torch.no_grad()
    def _read(self, mel: Tensor) -> Array:
        """Give frames (frames, n_mels) in the dialect, each converted by itself: products of more round differently."""
        if not mel.shape[-1]:  # nothing to convert, also where the dialect's bands are others
            return np.empty((0, self._n_mels))
        if self._convert is not None:
            mel = torch.cat([self._convert(frame) for frame in mel.split(1, dim=-1)], dim=-1)
        return mel[0].T.double().cpu().numpy()


class Pass:
    """One pass over the samples and frames of an utterance; float64, for what comes after it is another pass.

    Frame f is made of the n_fft samples from f · hop_length on, counted from where the first frame begins: `before`
    samples ahead of the waveform, which goes on beyond its ends as it does for a mel. What a frame changes is weighted
    by its window once more, and divided by the sum of the squared windows.

    Args:
        config: The dialect.
    """

    def __init__(self, config: MelConfig) -> None:
        self.config, self.tables = config, make_tables(config)
        self.before = beyond_ends(config)[0]
        self.after = max(0, config.n_fft - config.hop_length - self.before)
        self._first: Array | None = np.empty(0)  # the first samples, until there are enough to mirror
        self._to_skip = self.before
        # All from the first sample of the next frame on.
        self._frames = np.empty((0, config.n_mels))
        self._waveform, self._change, self._overlap = np.empty(0), np.empty(0), np.empty(0)

    def push(self, samples: Array, frames: Array, *, last: bool) -> Array:
        """Take samples (time,) and frames (frames, n_mels), give the samples that are determined."""
        self._frames = np.concatenate([self._frames, frames])
        self._waveform = np.concatenate([self._waveform, self._with_ends(samples, last=last)])
        known = (len(self._waveform) - self.config.n_fft) // self.config.hop_length + 1
        ready, pieces = min(known, len(self._frames)), [np.empty(0)]
        for start in range(0, ready, BLOCK_FRAMES):
            pieces.append(self._advance(min(BLOCK_FRAMES, ready - start)))
        if last:
            pieces.append(self._take(len(self._waveform))[: -self.after or None])
        made = np.concatenate(pieces)
        skipped = min(self._to_skip, len(made))
        self._to_skip -= skipped
        return made[skipped:]

    def _with_ends(self, samples: Array, *, last: bool) -> Array:
        """Give the samples, and before the first and after the last ones what frames see beyond the waveform's ends."""
        mode: Literal["reflect", "constant"] = "reflect" if self.config.edges == "reflect" else "constant"
        if self._first is not None:
            samples = self._first = np.concatenate([self._first, samples])
            if (len(samples) <= self.before and not last) or not len(samples):
                return np.empty(0)
            self._first = None
            samples = np.concatenate(
                [np.pad(samples[: self.before + 1], (self.before, 0), mode)[: self.before], samples]
            )
        if last:
            end = np.concatenate([self._waveform, samples])[-self.after - 1 :]
            samples = np.concatenate([samples, np.pad(end, (0, self.after), mode)[len(end) :]])
        return samples

    def _advance(self, count: int) -> Array:
        """Correct the next frames; give the samples before the first of the frame that follows them."""
        hop_length, window = self.config.hop_length, self.tables.window
        length = (count - 1) * hop_length + self.config.n_fft
        windows = np.lib.stride_tricks.sliding_window_view(self._waveform[:length], len(window))[::hop_length] * window
        spectrum = np.fft.rfft(windows)
        gain = missing_gain(np.abs(spectrum), self._frames[:count], self.config)
        changes = np.fft.irfft(spectrum * (gain - 1), self.config.n_fft) * window
        self._change, self._overlap = (np.pad(x, (0, length - len(x))) for x in (self._change, self._overlap))
        for frame, change in enumerate(changes):  # one after the other, so that no chunk changes the order of a sum
            here = slice(frame * hop_length, frame * hop_length + len(window))
            self._change[here] += change
            self._overlap[here] += window**2
        self._frames = self._frames[count:]
        return self._take(count * hop_length)

    def _take(self, count: int) -> Array:
        """Give so many samples with their changes, and forget them."""
        change, overlap = self._change[:count], self._overlap[:count]
        made = self._waveform[:count].copy()
        made[: len(change)] += change / overlap.clip(min=THINNEST * self.tables.overlap)
        self._waveform, self._change, self._overlap = (x[count:] for x in (self._waveform, self._change, self._overlap))
        return made


class Tables(NamedTuple):
    """The tables of a dialect that passes read.

    Attributes:
        window: The weights of a frame's samples (n_fft,).
        overlap: The largest sum of the squared windows that overlap.
        bins: The Fourier bins of each band, band after band.
        weights: The weights of these bins in the band.
        starts: The index in `bins` at which each band begins.
        heard: The bands that hold a bin.
        right: The first band of these whose centre lies above, for each bin (n_fft / 2 + 1,).
        share: How near that centre is, from 0 at the one before to 1.
        inside: Whether a band holds the bin; of others the mel says nothing.
    """

    window: Array
    overlap: float
    bins: Indices
    weights: Array
    starts: Indices
    heard: Indices
    right: Indices
    share: Array
    inside: npt.NDArray[np.bool_]


@lru_cache(maxsize=16)
def make_tables(config: MelConfig) -> Tables:
    """Make the tables of a dialect."""
    spectrum, filters = LogPowerSpectrum(config), mel_filterbank(config).numpy()
    heard = spectrum.heard.numpy()
    held = [filters[:, band].nonzero()[0] for band in heard]
    beside = config.n_fft - config.win_length
    window = np.pad(analysis_window(config).numpy(), (beside // 2, beside - beside // 2))
    turns = np.pad(window**2, (0, -config.n_fft % config.hop_length)).reshape(-1, config.hop_length)
    return Tables(
        window=window,
        overlap=float(turns.sum(axis=0).max()),
        bins=np.concatenate(held),
        weights=np.concatenate([filters[bins, band] for bins, band in zip(held, heard, strict=True)]),
        starts=np.cumsum([0, *(len(bins) for bins in held[:-1])]),
        heard=heard,
        right=spectrum.right.numpy(),
        share=spectrum.weight.numpy(),
        inside=filters.sum(axis=1) > 0,
    )


def missing_gain(magnitude: Array, mel: Array, config: MelConfig) -> Array:
    """Give the factor that brings each bin to what the mel asks for, and beyond; 1 outside its bands.

    Bands are compared as the dialect says them, so that what it cannot say, below its floor, is left alone.

    Args:
        magnitude: The magnitude |STFT| (frames, n_fft / 2 + 1).
        mel: The mel (frames, n_mels).
        config: The dialect.
    """
    tables = make_tables(config)
    power = np.maximum(magnitude**2 + config.power_epsilon, config.power_floor)
    weighted = (power ** (config.power / 2))[:, tables.bins] * tables.weights
    bands = np.ones_like(mel)
    bands[:, tables.heard] = np.add.reduceat(weighted, tables.starts, axis=1)
    said = normalise(guard(torch.from_numpy(bands).log(), config), config)
    missing = denormalise(torch.from_numpy(mel), config) - denormalise(said, config)
    nepers = (EAGER / config.power * missing.numpy()[:, tables.heard]).clip(-LARGEST, LARGEST)
    right, share = tables.right, tables.share
    return np.where(tables.inside, np.exp(nepers[:, right - 1] * (1 - share) + nepers[:, right] * share), 1.0)
