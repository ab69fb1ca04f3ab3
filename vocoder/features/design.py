"""A mel for any sample rate, where there is no dialect to meet; and whether a filterbank tells its bands apart."""

from __future__ import annotations

import dataclasses

import torch

from vocoder.config import MelConfig
from vocoder.features.filterbank import mel_filterbank

HOP_SECONDS = 256 / 22_050  # the commonest mels': 11.6 ms
HOPS_PER_WINDOW = 4
MOST_PADDING = 2  # n_fft over the shortest that holds the window: more interpolates and tells nothing new
LOWEST_RATE, HIGHEST_RATE = 4_000, 192_000
SHORTEST_HOP, LONGEST_HOP = 1e-3, 50e-3
FACTORS = (2, 3, 5, 7)


def design_mel(sample_rate: int, *, hop_seconds: float = HOP_SECONDS, n_mels: int = 80) -> MelConfig:
    """Design a dialect for a sample rate: HiFi-GAN's, up to half the rate, with lengths that fit.

    The hop is the even number nearest to the wish that has no prime factor above 7: our networks take any, but others
    that may be trained on these mels upsample by small strides. The window has four hops. `n_fft` is the power of two
    that holds it, or the next if the bands need it to have full rank.

    Args:
        sample_rate: The sample rate in Hz.
        hop_seconds: The wanted time from frame to frame, in seconds.
        n_mels: The number of bands.

    Raises:
        ValueError: A number is out of range, or there are more bands than any such filterbank can tell apart.
    """
    _check("sample_rate", sample_rate, LOWEST_RATE, HIGHEST_RATE, "Hz")
    _check("hop_seconds", hop_seconds, SHORTEST_HOP, LONGEST_HOP, "s")
    hop_length = _nearest_hop(sample_rate * hop_seconds)
    win_length = HOPS_PER_WINDOW * hop_length
    shortest = 1 << (win_length - 1).bit_length()
    _check("n_mels", n_mels, 1, MOST_PADDING * shortest // 2, "bands")
    mel = MelConfig(sample_rate, shortest, win_length, hop_length, n_mels=n_mels, f_max=sample_rate / 2)
    while filterbank_rank(mel) < n_mels:
        if mel.n_fft == MOST_PADDING * shortest:
            raise ValueError(f"{describe_rank(mel)}. Take fewer bands, or a longer hop.")
        mel = dataclasses.replace(mel, n_fft=2 * mel.n_fft)
    return mel


def filterbank_rank(mel: MelConfig) -> int:
    """Count the bands that say something of their own: `n_mels` at best, which also means a Fourier bin for each."""
    return int(torch.linalg.matrix_rank(mel_filterbank(mel)))


def describe_rank(mel: MelConfig) -> str:
    """Say how many bands the mel can tell apart, and from what numbers that follows, without a full stop."""
    rank = filterbank_rank(mel)
    return (
        f"{mel.n_mels} bands up to {mel.f_max:g} Hz with n_fft {mel.n_fft} at {mel.sample_rate} Hz have rank {rank}: "
        f"{mel.n_mels - rank} say nothing that the others do not"
    )


def _nearest_hop(wanted: float) -> int:
    upwards = range(2, 2 * round(wanted) + 2, 2)
    return min((hop for hop in upwards if _is_smooth(hop)), key=lambda hop: abs(hop - wanted))


def _is_smooth(number: int) -> bool:
    for factor in FACTORS:
        while number % factor == 0:
            number //= factor
    return number == 1


def _check(name: str, value: float, lowest: float, highest: float, unit: str) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f"`{name}` must lie between {lowest:g} and {highest:g} {unit}, but is {value:g}.")
