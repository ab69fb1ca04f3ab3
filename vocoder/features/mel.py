"""Waveform → log-mel spectrogram, as a `MelConfig` says: the only place that knows framing and edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder.config import MelConfig
from vocoder.features.filterbank import analysis_window, mel_filterbank
from vocoder.features.values import normalise


class LogMelSpectrogram(nn.Module):
    """The mel spectrogram of a dialect, on torchaudio's spectrogram.

    In float64, also under autocast: where a frame is loud, float32's Fourier transform leaves its rounding in the quiet
    bands, some 1e-4 of a neper.

    Args:
        config: The dialect.

    Raises:
        ModuleNotFoundError: torchaudio is not installed (inference from mels does not need it).
    """

    filterbank: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        try:
            from torchaudio.transforms import Spectrogram
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "Computing a mel from audio needs torchaudio. Run `pip install 'vocoder[train]'`, or give mels."
            ) from error
        self.config = config
        self.spectrogram = Spectrogram(
            n_fft=config.n_fft,
            win_length=config.win_length,
            hop_length=config.hop_length,
            window_fn=lambda _: analysis_window(config),
            power=None,
            center=False,
        )
        # torchaudio's window follows from the config, and has no place in a checkpoint.
        self.spectrogram.register_buffer("window", self.spectrogram.window, persistent=False)
        self.register_buffer("filterbank", mel_filterbank(config).T.contiguous(), persistent=False)

    @property
    def padding(self) -> tuple[int, int]:
        """Samples that the first and the last frame reach beyond the waveform's ends."""
        return beyond_ends(self.config)

    @torch.no_grad()
    def forward(self, waveform: Tensor, *, padded: bool = False) -> Tensor:
        """Log-mel of each waveform.

        Args:
            waveform: (batch, time), in [-1, 1].
            padded: The waveform already holds `padding` true samples on each side; otherwise it goes on beyond its ends
                as the dialect's `edges` say.

        Returns:
            (batch, n_mels, frames), or (batch, frames, n_mels) if the dialect's layout is `frames_first`; float32.
            With half-hop framing frames = time // hop_length, centred 1 + time // hop_length.

        Raises:
            ValueError: The waveform has another shape, or is too short to be reflected, or for a frame.
        """
        if waveform.ndim != 2:
            raise ValueError(
                f"`waveform` must have shape (batch, time), but has {tuple(waveform.shape)}. Pass waveform[None]."
            )
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.double()
            if self.config.pre_emphasis:
                waveform = pre_emphasis(waveform, self.config.pre_emphasis)
            if not padded:
                waveform = self._pad(waveform)
            mel = self._log(self._bands(waveform)).float()
            return mel if self.config.layout == "bands_first" else mel.transpose(1, 2).contiguous()

    def _pad(self, waveform: Tensor) -> Tensor:
        left, right = self.padding
        reflected = self.config.edges == "reflect"
        shortest = max(left, right) + 1 if reflected else self.config.n_fft - left - right
        if waveform.shape[-1] < shortest:
            raise ValueError(
                f"A mel with n_fft {self.config.n_fft} needs at least {shortest} samples, but the waveform has "
                f"{waveform.shape[-1]}. Pad it with silence."
            )
        return F.pad(waveform.unsqueeze(1), (left, right), mode="reflect" if reflected else "constant").squeeze(1)

    def _bands(self, waveform: Tensor) -> Tensor:
        stft = self.spectrogram(waveform)
        power = (stft.real.square() + stft.imag.square() + self.config.power_epsilon).clamp(min=self.config.power_floor)
        spectrum = power if self.config.power == 2 else power.pow(self.config.power / 2)
        return torch.matmul(self.filterbank, spectrum)

    def _log(self, bands: Tensor) -> Tensor:
        config = self.config
        guarded = bands.clamp(min=config.floor) if config.guard == "clamp" else bands + config.floor
        return normalise(guarded.log().mT, config).mT


def beyond_ends(config: MelConfig) -> tuple[int, int]:
    """Give the number of samples that the first and the last frame reach beyond the waveform's ends."""
    beyond = config.n_fft if config.framing == "centered" else config.n_fft - config.hop_length
    return beyond // 2, beyond - beyond // 2


def first_centre(config: MelConfig) -> int:
    """Give the sample on which the first frame is centred."""
    return config.n_fft // 2 - beyond_ends(config)[0]


def pre_emphasis(waveform: Tensor, coefficient: float) -> Tensor:
    """y[t] = x[t] - coefficient · x[t-1] along the last axis, x[-1] being 0."""
    emphasised = waveform.clone()
    emphasised[..., 1:] -= coefficient * waveform[..., :-1]
    return emphasised
