"""Folding: one long utterance cut into pieces that run side by side, then joined where it is heard least.

Each piece starts from silence, early enough to have forgotten it by the time it is heard. Two pieces agree on the mel
and on the noise, but not on where exactly a pitch period begins; so each is moved by up to half a period to fit the one
before it, counted from where the mel wants it, never from where its neighbour went: shifts do not add up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vocoder.config import MelConfig
from vocoder.inference.batching import Part, Progress, repeat_last_frame
from vocoder.inference.sampler import Place
from vocoder.model.spectrum import LogPowerSpectrum
from vocoder.model.wavenet import Conditioning, WaveNet

PIECE_SECONDS = 1.0  # of a piece's own, at least: long beside its warm-up, short enough to occupy many rows
LEAST_SHARE = 4  # and so many times what it generates to throw away, should the network remember for long
REACH_SECONDS = 0.1  # how far a cut goes to find a quiet place: half a syllable; all wait for the longest piece
FADE_SECONDS = 0.02  # a period of the lowest voice, and less than a sound of speech
SHIFT_SECONDS = 0.005  # either way, where the network knows no pitch: half a period of 100 Hz
PITCH_FRAMES = 5  # around a cut, whose median is its period: a single frame may be an octave off

Samples = npt.NDArray[np.float64]


def count_pieces(network: WaveNet, frames: int) -> int:
    """How many pieces an utterance makes: a function of its length alone, so that the machine changes no bit."""
    surplus = warm_up(network) + int(FADE_SECONDS * network.sample_rate) + 2 * network.hop_length
    least = max(PIECE_SECONDS * network.sample_rate, LEAST_SHARE * surplus)
    return max(1, int(frames * network.hop_length / least))


def warm_up(network: WaveNet) -> int:
    """Give the number of samples that a piece generates before it is heard.

    From there on, every past sample on which a sample depends directly is the piece's own.
    """
    return network.past_length


def measure_power(mel: Tensor, config: MelConfig) -> Tensor:
    """Measure the power of each frame, in no particular unit: (batch, n_mels, frames) → (batch, frames), on the CPU.

    The sum over the spectrum, not a mean of the bands' logarithms: what is loud in a few bands is loud.
    """
    return LogPowerSpectrum(config)(mel.cpu()).exp().sum(dim=-1)


def choose_cuts(power: Sequence[float], count: int, reach: int) -> list[int]:
    """Choose the frames at whose middle to cut an utterance into `count` pieces: near equal parts, where it is quiet.

    Args:
        power: The power of each frame.
        count: The number of pieces, one more than of cuts.
        reach: The number of frames by which a cut may lie off equal parts; less than half a part.

    Returns:
        The count - 1 frames, ascending; of equally quiet ones the nearest to equal parts.
    """
    frames, cuts = len(power), []
    for index in range(1, count):
        nominal = round(index * frames / count)
        near = range(nominal - reach, nominal + reach + 1)
        cuts.append(min((power[frame], abs(frame - nominal), frame) for frame in near)[-1])
    return cuts


class Piece(NamedTuple):
    """A part of an utterance.

    Attributes:
        first: The frame from which it is generated.
        stop: The frame before which it ends; it may lie beyond the utterance's end.
        cut: The sample about which it is faded in, of the utterance; 0 for the first piece, which is not.
        limit: The number of samples by which it may be moved either way.
    """

    first: int
    stop: int
    cut: int
    limit: int


@dataclass(frozen=True)
class Fold:
    """A plan of how one utterance is cut and joined.

    Attributes:
        conditioning: The conditioning of this utterance alone.
        pieces: The pieces in order of time.
        hop_length: The number of samples per frame.
        fade: The number of samples of a cross-fade.
    """

    conditioning: Conditioning
    pieces: list[Piece]
    hop_length: int
    fade: int

    @classmethod
    def plan(cls, network: WaveNet, conditioning: Conditioning, power: Tensor) -> Fold:
        """Cut an utterance of some power (frames,)."""
        hop, rate, frames = network.hop_length, network.sample_rate, conditioning.frames
        count, reach = count_pieces(network, frames), int(REACH_SECONDS * rate / hop)
        middles = choose_cuts(power.tolist(), count, reach)
        fade = 2 * (int(FADE_SECONDS * rate) // 2)
        limits = [0, *(shift_limit(network, conditioning, frame) for frame in middles)]
        cuts = [0, *(frame * hop + hop // 2 for frame in middles)]
        # A piece is heard from half a fade before its cut to half a fade after the next; the last, to the end.
        ends = [*(cut + fade // 2 for cut in cuts[1:]), frames * hop]
        pieces = [
            Piece(
                first=max(0, (cut - fade // 2 - limit - warm_up(network)) // hop),
                stop=-(-(end + limit) // hop),
                cut=cut,
                limit=limit,
            )
            for cut, end, limit in zip(cuts, ends, limits, strict=True)
        ]
        return cls(conditioning, pieces, hop, fade)

    def parts(self, number: int) -> list[Part]:
        """List what is to be generated; the noise is that of the utterance of this number at the same samples."""
        return [
            Part(
                piece.stop - piece.first,
                Place(number, piece.first * self.hop_length),
                [self._frames(piece.first, piece.stop)],
            )
            for piece in self.pieces
        ]

    def _frames(self, first: int, stop: int) -> Conditioning:
        inside = self.conditioning.slice_frames(first, min(stop, self.conditioning.frames))
        return inside if inside.frames == stop - first else repeat_last_frame(inside, stop - first - inside.frames)

    def join(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Join the pieces' waveforms, each (its frames · hop_length,), to one (frames · hop_length,)."""
        whole, _ = self.assemble([waveform.double().cpu().numpy() for waveform in waveforms])
        return torch.from_numpy(whole).float().to(self.conditioning.scale.device)

    def assemble(self, waveforms: Sequence[Samples]) -> tuple[Samples, list[int]]:
        """Join; gives the whole (frames · hop_length,) in [-1, 1] and by how many samples each piece was moved."""
        whole, shifts = np.zeros(self.conditioning.frames * self.hop_length), [0]
        for index, (piece, waveform) in enumerate(zip(self.pieces, waveforms, strict=True)):
            begin = piece.cut - self.fade // 2 - piece.first * self.hop_length  # of the fade, in this waveform
            if index == 0:
                put(whole, 0, waveform)
                continue
            here = slice(piece.cut - self.fade // 2, piece.cut + self.fade // 2)
            near = waveform[begin - piece.limit : begin + self.fade + piece.limit]
            shift, likeness = align(whole[here], near)
            moved = waveform[begin - shift :]
            faded = cross_fade(whole[here], moved[: self.fade], likeness)
            put(whole, here.start, np.concatenate([faded, moved[self.fade :]]))
            shifts.append(shift)
        return whole.clip(-1, 1), shifts


def put(whole: Samples, start: int, part: Samples) -> None:
    """Write a part from a sample on, as far as there is room."""
    part = part[: len(whole) - start]
    whole[start : start + len(part)] = part


def shift_limit(network: WaveNet, conditioning: Conditioning, frame: int) -> int:
    """Give half the pitch period around a frame, in samples: a shift up to it either way meets any phase once.

    Where nothing is voiced the period means nothing, but stays within that of a voice, and cannot be heard in noise.
    """
    if network.pitch_lag is None:
        return int(SHIFT_SECONDS * network.sample_rate)
    first = max(0, frame - PITCH_FRAMES // 2)
    lag = conditioning.lag[0, first : first + PITCH_FRAMES].median()
    return (int(lag) + network.pitch_lag.lead) // 2


def align(tail: Samples, near: Samples) -> tuple[int, float]:
    """Find where the next piece fits the one before it best.

    Args:
        tail: The end of what has been placed (fade,).
        near: The next piece at the same place (limit + fade + limit,).

    Returns:
        The number of samples by which to move it to later, from -limit to limit, the least of equally good ones; and
        the normalised cross-correlation there, from 0 (also in silence, and where nothing fits) to 1.
    """
    limit = (len(near) - len(tail)) // 2
    candidates = np.lib.stride_tricks.sliding_window_view(near, len(tail))[::-1]  # shifts -limit … limit
    size = np.sqrt((candidates**2).sum(axis=1) * (tail**2).sum())
    likeness = (candidates * tail).sum(axis=1) / np.where(size > 0, size, 1)
    shifts = np.arange(-limit, limit + 1)
    best = np.lexsort((np.abs(shifts), -likeness))[0]
    return int(shifts[best]), float(np.clip(likeness[best], 0, 1))


def cross_fade(tail: Samples, head: Samples, likeness: float) -> Samples:
    """From one signal to another (fade,), of constant power: gains a, b with a² + b² + 2 a b likeness = 1.

    That is the power of the sum of two signals of unit power whose correlation is the likeness: 0 gives an equal-power
    fade, 1 one whose gains sum to one.
    """
    angle = (np.arange(len(tail)) + 0.5) * (math.pi / 2 / len(tail))
    a, b = np.cos(angle), np.sin(angle)
    return (a * tail + b * head) / np.sqrt(1 + 2 * a * b * likeness)


def scale_progress(progress: Progress, wanted: int, work: int) -> Callable[[int], None]:
    """Report of `work` only `wanted`, evenly, in whole samples."""
    done = reported = 0

    def report(samples: int) -> None:
        nonlocal done, reported
        done += samples
        news = done * wanted // work - reported
        reported += news
        progress(news)

    return report
