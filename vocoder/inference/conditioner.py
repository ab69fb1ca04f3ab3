"""Mel frames as they come → what the network makes of them, with the same bits in whatever chunks they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder.inference.single_thread import run_single_threaded
from vocoder.model.wavenet import FRAME_PARTS, Conditioning, WaveNet

BLOCK_FRAMES = 32  # a block of half as many takes 85 % of the time
PIECE_FRAMES = 32 * BLOCK_FRAMES  # of what is there as a whole: few, so that little is in memory at a time

Convert = Callable[[Tensor], Tensor]


class Conditioner:
    """The conditioning of one utterance, each frame's as soon as the frames are known that it depends on.

    torch's products round differently for another number of frames and of threads. So all is computed in blocks of one
    size at fixed places, each on one thread; a block that is not complete yet is filled up with copies, and computed
    again when it is. Hence a stream has the bits of the whole.

    Args:
        network: The network, in eval mode.
        speaker: The index of the voice (1,), on the network's device, for networks of several.
        convert: The conversion of mels as they come (1, bands, frames) to the network's dialect, frame by frame.
        voiced_temperature: The factor on the spread of the laws where the mel is voiced; see `SamplingConfig`.

    Attributes:
        seen: The number of frames that have come.
        done: The number of frames whose conditioning has been given.
    """

    def __init__(
        self,
        network: WaveNet,
        speaker: Tensor | None = None,
        convert: Convert | None = None,
        voiced_temperature: float = 1.0,
    ) -> None:
        self.network, self.speaker, self.convert = network, speaker, convert
        self.voiced_temperature = voiced_temperature
        self.margin = network.config.margin_frames
        self.seen = self.done = 0
        self._first = -self.margin  # the frame that `_mel` begins with
        self._mel: Tensor | None = None

    def push(self, mel: Tensor, *, last: bool = False) -> Conditioning | None:
        """Take the next frames.

        Args:
            mel: The mel (1, bands, frames); any number of frames.
            last: No more will come.

        Returns:
            The conditioning of all frames that are determined by now and were not before; None if there are none.
        """
        if mel.shape[-1] and self._mel is None:
            self._mel = mel[..., :1].expand(-1, -1, self.margin)
        if self._mel is None:
            return None
        self._mel = torch.cat([self._mel, mel], dim=-1)
        self.seen += mel.shape[-1]
        return self._advance(self.seen if last else self.seen - self.margin)

    def over(self, mel: Tensor) -> Iterator[Conditioning]:
        """Yield the conditioning of an utterance that is there as a whole (1, bands, frames), piece after piece."""
        for start in range(0, mel.shape[-1], PIECE_FRAMES):
            stop = start + PIECE_FRAMES
            piece = self.push(mel[..., start:stop], last=stop >= mel.shape[-1])
            if piece is not None:  # else the network looks further ahead than a piece is long
                yield piece

    def _advance(self, stop: int) -> Conditioning | None:
        """Give the conditioning from the next frame that is due up to the frame `stop`; None if there is none."""
        start, reach = self.done, self.network.config.upsampling_taps - 1
        if stop <= start:
            return None
        first = start // BLOCK_FRAMES
        # A frame's context is that of its neighbours too, which are computed at their own places, in the next block.
        indices = range(first, (stop + reach - 1) // BLOCK_FRAMES + 1)
        blocks = [block.result() for block in [run_single_threaded(self._block, index) for index in indices]]
        offset, frames = start - first * BLOCK_FRAMES, stop - start

        def part(name: str, count: int) -> Tensor:
            row = torch.cat([getattr(block, name)[:, :BLOCK_FRAMES] for block in blocks], dim=1)
            return row[:, offset : offset + count]

        piece = Conditioning(
            context=part("context", frames + reach),
            **{name: part(name, frames) for name in FRAME_PARTS},
            speaker=blocks[0].speaker,
        )
        self.done = stop
        self._forget(stop // BLOCK_FRAMES * BLOCK_FRAMES - self.margin)
        return piece

    @torch.no_grad()
    def _block(self, index: int) -> Conditioning:
        assert self._mel is not None
        start = index * BLOCK_FRAMES - self.margin - self._first
        length = BLOCK_FRAMES + 2 * self.margin
        known = self._mel[..., min(start, self._mel.shape[-1] - 1) : start + length]
        mel = F.pad(known, (0, length - known.shape[-1]), mode="replicate").contiguous()
        with torch.autocast(mel.device.type, enabled=False):
            mel = mel if self.convert is None else self.convert(mel)
            return self.network.condition(mel, self.speaker, padded=True, voiced_temperature=self.voiced_temperature)

    def _forget(self, frame: int) -> None:
        """Drop what lies before a frame."""
        assert self._mel is not None
        self._mel, self._first = self._mel[..., frame - self._first :].clone(), frame


def condition_whole(conditioner: Conditioner, mel: Tensor) -> Conditioning:
    """Compute the conditioning of a whole utterance (1, bands, frames) by a conditioner of its own."""
    whole = conditioner.push(mel, last=True)
    assert whole is not None  # there is at least one frame
    return whole
