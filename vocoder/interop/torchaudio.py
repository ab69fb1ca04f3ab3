"""A vocoder where torchaudio's Tacotron 2 pipelines take one."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vocoder.config import MelConfig
from vocoder.features.conversion import resolve_dialect
from vocoder.features.frame_map import count_frames
from vocoder.inference.vocoder import Vocoder


class TorchaudioVocoder(nn.Module):
    """A drop-in for `torchaudio.pipelines.Tacotron2TTSBundle.Vocoder`, which is what `get_vocoder` gives.

    It needs no torchaudio. The model stays on the device that it was loaded to, whatever `to` is told, and waveforms
    come back on the mels' device.

    Args:
        vocoder: The model.
        dialect: The dialect of the mels that will come. Of torchaudio's bundles, those with Griffin-Lim need
            `tacotron2`, and those with WaveRNN `tacotron2-wavernn`; None for the model's own. See `Vocoder.infer`.
        options: The further arguments for `Vocoder.infer_many`, for example `seed` or `temperature`.

    Example:
        >>> import torchaudio, vocoder  # doctest: +SKIP
        >>> bundle = torchaudio.pipelines.TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH  # doctest: +SKIP
        >>> speak = TorchaudioVocoder(vocoder.Vocoder.from_pretrained("universal"))  # doctest: +SKIP
        >>> tokens, lengths = bundle.get_text_processor()(["Hello world!", "Good night."])  # doctest: +SKIP
        >>> mel, lengths, _ = bundle.get_tacotron2().infer(tokens, lengths)  # doctest: +SKIP
        >>> waveforms, lengths = speak(mel, lengths)  # doctest: +SKIP
        >>> first = waveforms[0, : lengths[0]]  # at speak.sample_rate  # doctest: +SKIP
    """

    def __init__(self, vocoder: Vocoder, dialect: str | MelConfig | None = "tacotron2", **options: Any) -> None:
        super().__init__()
        mel = vocoder.mel if dialect is None else resolve_dialect(dialect)
        # torchaudio's axes are these, whatever the dialect's own.
        self.vocoder, self.options = vocoder, {"dialect": replace(mel, layout="bands_first"), **options}
        _register()

    @property
    def sample_rate(self) -> int:
        """The sample rate of the waveforms, in Hz."""
        return self.vocoder.sample_rate

    def forward(self, specgrams: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Turn a padded batch of mels into a padded batch of waveforms.

        Row b is `infer(specgrams[b, :, :lengths[b]], utterance=b)`, whatever the padding holds.

        Args:
            specgrams: The mels (batch, n_mels, frames).
            lengths: The number of frames that count in each row (batch,), from 1 to frames; None for all.

        Returns:
            The waveforms (batch, frames · hop_length), float32 in [-1, 1], 0 beyond the end of each; and (batch,), the
            samples that count in each row, of the type of `lengths`, or None if that was None.

        Raises:
            TypeError: As `Vocoder.infer`.
            ValueError: As `Vocoder.infer`, or `lengths` does not fit.
        """
        rows = _cut(specgrams, lengths)
        waveforms = specgrams.new_zeros(len(rows), self._count_samples(specgrams.shape[-1]), dtype=torch.float32)
        for row, waveform in zip(waveforms, self.vocoder.infer_many(rows, **self.options), strict=True):
            row[: len(waveform)] = waveform
        counts = [self._count_samples(row.shape[-1]) for row in rows]
        return waveforms, None if lengths is None else lengths.new_tensor(counts)

    def _count_samples(self, frames: int) -> int:
        return count_frames(frames, self.options["dialect"], self.vocoder.mel) * self.vocoder.hop_length


def _cut(specgrams: Tensor, lengths: Tensor | None) -> list[Tensor]:
    """Cut the padding off the rows."""
    if specgrams.ndim != 3:
        raise ValueError(f"`specgrams` must be (batch, n_mels, frames), but has shape {tuple(specgrams.shape)}.")
    batch, _, frames = specgrams.shape
    if lengths is None:
        return list(specgrams)
    if not isinstance(lengths, Tensor):
        raise TypeError(f"`lengths` must be a tensor, but is a {type(lengths).__name__}. Pass torch.tensor(lengths).")
    counts = lengths.tolist()
    if lengths.shape != (batch,) or lengths.is_floating_point() or not all(1 <= n <= frames for n in counts):
        raise ValueError(
            f"`lengths` must hold {batch} numbers of frames from 1 to {frames}, one for each row, but is {counts}. "
            "Pass what Tacotron 2 gives beside the mels."
        )
    return [mel[:, :count] for mel, count in zip(specgrams, counts, strict=True)]


def _register() -> None:
    """Make `isinstance` say yes; nothing else depends on it, so a torchaudio that does not load is no obstacle."""
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        from torchaudio.pipelines import Tacotron2TTSBundle

        Tacotron2TTSBundle.Vocoder.register(TorchaudioVocoder)
