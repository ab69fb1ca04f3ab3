"""Waveform → log-mel spectrogram, as a `MelConfig` says: the only place that knows padding, logarithm and floor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder.config import MelConfig
from vocoder.features.audio import pre_emphasis
from vocoder.features.filterbank import mel_filterbank


class LogMelSpectrogram(nn.Module):
    """The mel spectrogram of a dialect, on torchaudio's spectrogram.

    Always float32, also under autocast: eight bits of mantissa are no spectrogram.

    Args:
        config: The dialect.

    Raises:
        ModuleNotFoundError: torchaudio is not installed (inference from mels does not need it).
    """

    filterbank: Tensor
    shift: Tensor
    scale: Tensor

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
            window_fn=torch.hann_window,
            wkwargs={"periodic": config.window == "hann"},
            power=None,
            center=False,
        )
        # torchaudio's window follows from the config, and has no place in a checkpoint.
        self.spectrogram.register_buffer("window", self.spectrogram.window, persistent=False)
        self.register_buffer("filterbank", mel_filterbank(config).float().T.contiguous(), persistent=False)
        self.register_buffer("shift", torch.as_tensor(config.shift).reshape(-1, 1), persistent=False)
        self.register_buffer("scale", torch.as_tensor(config.scale).reshape(-1, 1), persistent=False)

    @property
    def padding(self) -> tuple[int, int]:
        """Samples that the first and the last frame reach beyond the waveform's ends."""
        config = self.config
        beyond = config.n_fft if config.framing == "centered" else config.n_fft - config.hop_length
        return beyond // 2, beyond - beyond // 2

    @torch.no_grad()
    def forward(self, waveform: Tensor, *, padded: bool = False) -> Tensor:
        """Log-mel of each waveform.

        Args:
            waveform: (batch, time), in [-1, 1].
            padded: The waveform already holds `padding` true samples on each side; otherwise its ends are reflected.

        Returns:
            (batch, n_mels, frames): frames = time // hop_length with half-hop framing, 1 + time // hop_length centred.

        Raises:
            ValueError: The waveform is too short to be reflected.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            if self.config.pre_emphasis:
                waveform = pre_emphasis(waveform, self.config.pre_emphasis)
            if not padded:
                waveform = self._reflect(waveform)
            return self._log(self._bands(waveform))

    def _reflect(self, waveform: Tensor) -> Tensor:
        left, right = self.padding
        shortest = max(left, right) + 1
        if waveform.shape[-1] < shortest:
            raise ValueError(
                f"A mel with n_fft {self.config.n_fft} needs at least {shortest} samples, but the waveform has "
                f"{waveform.shape[-1]}. Pad it with silence."
            )
        return F.pad(waveform.unsqueeze(1), (left, right), mode="reflect").squeeze(1)

    def _bands(self, waveform: Tensor) -> Tensor:
        stft = self.spectrogram(waveform)
        power = stft.real.square() + stft.imag.square() + self.config.power_epsilon
        spectrum = power if self.config.power == 2 else power.pow(self.config.power / 2)
        return torch.matmul(self.filterbank, spectrum)

    def _log(self, bands: Tensor) -> Tensor:
        config = self.config
        guarded = bands.clamp(min=config.floor) if config.guard == "clamp" else bands + config.floor
        mel = (guarded.log() * config.log_factor - self.shift) / self.scale
        return mel if config.clip is None else mel.clamp(*config.clip)
