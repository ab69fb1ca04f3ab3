"""Slow, obvious judges in float64, written from the papers and the design: they share no arithmetic with the package.

Everything is for one utterance, sample by sample or frame by frame, in NumPy, SciPy and librosa.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import librosa
import numpy as np
import scipy.linalg
import scipy.signal
import scipy.special
import scipy.stats
from numpy.typing import NDArray
from torch import Tensor

from vocoder.config import MelConfig, VocoderConfig

Array = NDArray[Any]


def filterbank(config: MelConfig) -> Array:
    """(n_mels, n_fft / 2 + 1), librosa's."""
    return librosa.filters.mel(
        sr=config.filterbank_sample_rate or config.sample_rate,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.f_min,
        fmax=config.f_max,
        htk=config.mel_scale == "htk",
        norm="slaney" if config.mel_norm == "slaney" else None,
        dtype=np.float64,
    )


def log_mel(waveform: Array, config: MelConfig) -> Array:
    """(time,) → (n_mels, frames) or, in that layout, (frames, n_mels), one Fourier transform per frame."""
    waveform = scipy.signal.lfilter([1.0, -config.pre_emphasis], [1.0], np.asarray(waveform, np.float64))
    beyond = config.n_fft if config.framing == "centered" else config.n_fft - config.hop_length
    mode: Any = {"reflect": "reflect", "zero": "constant"}[config.edges]
    waveform = np.pad(waveform, (beyond // 2, beyond - beyond // 2), mode=mode)
    window = {
        "hann": scipy.signal.get_window("hann", config.win_length),
        "hann_symmetric": scipy.signal.windows.hann(config.win_length),
        "sine": scipy.signal.windows.cosine(config.win_length),
    }[config.window]
    window = librosa.util.pad_center(window, size=config.n_fft)
    columns = []
    for start in range(0, len(waveform) - config.n_fft + 1, config.hop_length):
        spectrum = np.fft.rfft(waveform[start : start + config.n_fft] * window)
        power = np.maximum(np.abs(spectrum) ** 2 + config.power_epsilon, config.power_floor)
        columns.append(filterbank(config) @ power ** (config.power / 2))
    bands = np.stack(columns, axis=1)
    guarded = np.maximum(bands, config.floor) if config.guard == "clamp" else bands + config.floor
    logarithm = {"ln": np.log, "log10": np.log10, "db": lambda x: 20 * np.log10(x)}[config.log](guarded)
    mel = (logarithm - np.reshape(config.shift, (-1, 1))) / np.reshape(config.scale, (-1, 1))
    mel = mel if config.clip is None else np.clip(mel, *config.clip)
    return mel if config.layout == "bands_first" else mel.T


def log_power(mel: Array, config: MelConfig) -> Array:
    """One frame's natural log-power (n_fft / 2 + 1,), read off between the bands' centres."""
    natural = {"ln": 1.0, "log10": math.log(10), "db": math.log(10) / 20}[config.log]
    log_band = (np.asarray(mel, np.float64) * np.asarray(config.scale) + np.asarray(config.shift)) * natural
    if config.guard == "add":
        log_band = np.log(np.maximum(np.exp(log_band) - config.floor, 1e-6 * config.floor))
    filters = filterbank(config)
    bins = np.arange(filters.shape[1])
    centres = filters @ bins / filters.sum(axis=1)
    level = np.interp(bins, centres, log_band - np.log(filters.sum(axis=1)))  # the ends' levels are held
    emphasis = scipy.signal.freqz([1.0, -config.pre_emphasis], worN=len(bins), include_nyquist=True)[1]
    return level * 2 / config.power - 2 * np.log(np.abs(emphasis))


def cepstrum(mel: Array, config: MelConfig) -> dict[int, float]:
    """How like the comb of one frame's harmonics a cosine along frequency is, for each lag in samples."""
    level = log_power(mel, config)
    frequency = np.arange(len(level)) * config.sample_rate / config.n_fft
    half = int(660 / (frequency[1] * 2))
    padded = np.pad(level, half, mode="edge")
    envelope = [np.mean(padded[k : k + 2 * half + 1]) for k in range(len(level))]
    comb = (level - envelope) * np.exp(-((frequency / 1200) ** 2))
    comb[1:-1] *= 2  # all but the ends stand for a negative frequency too
    longest = min(int(config.sample_rate / 60), config.n_fft // 2)
    lags = range(min(int(config.sample_rate / 550), longest), longest + 1)
    turns = frequency / config.sample_rate
    return {lag: float(comb @ np.cos(2 * np.pi * turns * lag)) / config.n_fft for lag in lags}


def pitch_lag(mel: Array, config: MelConfig) -> int:
    """One frame's period in samples: the lag whose cosine is most like the comb."""
    likeness = cepstrum(mel, config)
    return max(likeness, key=lambda lag: likeness[lag])


def voicing(mel: Array, config: MelConfig) -> float:
    """How voiced one frame is: from the comb's likeness and how much louder 80 to 800 Hz are than 3 to 8 kHz."""
    level = log_power(mel, config)
    frequency = np.arange(len(level)) * config.sample_rate / config.n_fft
    low = level[(frequency >= 80) & (frequency < 800)]
    high = level[(frequency >= 3000) & (frequency < min(8000, config.f_max))]
    odds = math.exp(55 * (max(cepstrum(mel, config).values()) - 0.034) + 0.29 * (np.mean(low) - np.mean(high) - 6))
    return odds / (1 + odds)


def linear_predictor(mel: Array, config: MelConfig, order: int) -> tuple[Array, float]:
    """One frame's coefficients (order,) and expected residual, by a general Toeplitz solver."""
    autocorrelation = np.fft.irfft(np.exp(log_power(mel, config)))[: order + 1]
    lags = np.arange(order + 1)
    autocorrelation *= np.exp(-0.5 * (2 * np.pi * 40.0 / config.sample_rate * lags) ** 2)
    autocorrelation[0] *= 1 + 1e-4
    coefficients = scipy.linalg.solve_toeplitz(autocorrelation[:-1], autocorrelation[1:])
    error = autocorrelation[0] - coefficients @ autocorrelation[1:]
    window_energy = np.sum(scipy.signal.get_window("hann", config.win_length) ** 2)
    return coefficients, math.sqrt(error / window_energy + 1 / 12 / 32768**2)


def log_prob(family: str, parameters: Array, waveform: Array) -> Array:
    """Log mass of 16-bit levels under mixtures [logits, locations, log-scales]: (..., 3 components), (...) → (...)."""
    law = {"mixture_of_logistics": scipy.stats.logistic, "gaussian": scipy.stats.norm}[family]
    logits, location, log_scale = np.split(np.asarray(parameters, np.float64), 3, axis=-1)
    scale = np.exp(np.maximum(log_scale, math.log(1e-6)))
    level = np.clip(np.round(np.asarray(waveform, np.float64) * 32768), -32768, 32767)[..., None]
    upper, lower = (level + 0.5) / 32768 - location, (level - 0.5) / 32768 - location
    # Both laws are symmetric: mirrored to the left of zero, a difference of distribution functions keeps its digits.
    mirrored = level / 32768 > location
    near, far = np.where(mirrored, -lower, upper) / scale, np.where(mirrored, -upper, lower) / scale
    inside = law.logcdf(near) + np.log(-np.expm1(law.logcdf(far) - law.logcdf(near)))
    log_mass = np.where(level <= -32768, law.logcdf(upper / scale), inside)
    log_mass = np.where(level >= 32767, law.logsf(lower / scale), log_mass)
    return scipy.special.logsumexp(scipy.special.log_softmax(logits, axis=-1) + log_mass, axis=-1)


def mu_law_encode(sample: float, bits: int) -> int:
    """ITU-T G.711 companding spread over 2**bits levels."""
    mu = 2**bits - 1
    companded = math.copysign(math.log(1 + mu * abs(sample)) / math.log(1 + mu), sample)
    return min(max(math.floor((companded + 1) / 2 * mu + 0.5), 0), mu)


def context(w: Mapping[str, Array], config: VocoderConfig, mel: Array) -> Array:
    """Three convolutions over frames: (n_mels, frames) → (conditioning_channels, frames + upsampling_taps - 1)."""
    low, high = config.mel.value_range
    padded = np.pad(mel, ((0, 0), (config.network.margin_frames,) * 2), mode="edge")
    c = (padded - (low + high) / 2) / ((high - low) / 4)
    for index in (0, 2, 4):
        kernel, bias = w[f"context_net.layers.{index}.weight"], w[f"context_net.layers.{index}.bias"]
        taps = kernel.shape[2]
        c = np.stack([np.tensordot(kernel, c[:, f : f + taps]) + bias for f in range(c.shape[1] - taps + 1)], axis=1)
        c = np.maximum(c, 0) if index < 4 else c
    return c


def at(values: list[Any], t: int) -> float:
    """Nothing sounds before the beginning."""
    return float(values[t]) if t >= 0 else 0.0


def excite(samples: list[Any], config: VocoderConfig, mel: Array) -> tuple[list[float], ...]:
    """Where linear prediction expects each sample, how far off it expects to be, what it leaves, and the echo of that.

    Without linear prediction it expects nothing, and nothing is heard twice.
    """
    order, hop_length = config.network.linear_prediction_order, config.mel.hop_length
    locations, scales, echo = [0.0] * len(samples), [1.0] * len(samples), [0.0] * len(samples)
    if not order:
        return locations, scales, [math.asinh(x) for x in samples], echo
    predictors = [linear_predictor(frame, config.mel, order) for frame in mel.T]
    # The echo lies a little less than a period back: by a fifth of the shortest period.
    lead = min(int(config.mel.sample_rate / 550), config.mel.n_fft // 2) // 5
    lags = [pitch_lag(frame, config.mel) - lead for frame in mel.T]
    for t in range(len(samples)):
        a, scales[t] = predictors[t // hop_length]
        locations[t] = sum(a[k] * at(samples, t - 1 - k) for k in range(order))
    excitation = [math.asinh((x - p) / s) for x, p, s in zip(samples, locations, scales, strict=True)]
    return locations, scales, excitation, [at(excitation, t - lags[t // hop_length]) for t in range(len(samples))]


def read(
    w: Mapping[str, Array],
    config: VocoderConfig,
    begin: int,
    samples: list[Any],
    locations: list[float],
    excitation: list[float],
    echo: list[float],
) -> Array:
    """What enters the first layer (residual_channels,) for the step that begins at a sample."""
    network, step = config.network, config.network.samples_per_step
    if network.distribution.name == "mu_law_categorical":
        level: Array = w["input.weight"][mu_law_encode(at(samples, begin - 1), network.distribution.bits)]
        return level
    inputs = [at(samples, begin - step + j) for j in range(step)]
    if network.linear_prediction_order:
        past = [at(excitation, begin - step + j) for j in range(step)]
        inputs += [locations[begin], *past, *echo[begin : begin + step]]
    x: Array = w["input.weight"] @ np.array(inputs) + w["input.bias"]
    return x


def wavenet(
    state: Mapping[str, Tensor],
    config: VocoderConfig,
    mel: Array,
    waveform: Array,
    *,
    speaker: int | None = None,
) -> Array:
    """Parameters (time, num_parameters) of every sample's law, from the weights alone, in the paper's order.

    Args:
        state: Of the network.
        config: Its size and shape.
        mel: (n_mels, frames).
        waveform: (time,), the true samples.
        speaker: Index of the voice, where there are several.
    """
    w = {name: tensor.double().numpy() for name, tensor in state.items()}
    network, hop_length = config.network, config.mel.hop_length
    order, kernel_size = network.linear_prediction_order, network.kernel_size
    skip_scale = math.sqrt(1 / len(network.dilations)) if network.skip_scale is None else network.skip_scale

    # Frame rate, then what linear prediction says of each sample and what it leaves.
    c = context(w, config, mel)
    step, samples = network.samples_per_step, list(waveform)
    locations, scales, excitation, echo = excite(samples, config, mel)
    # In frames without a voice no law lies farther from the prediction, or is wider, than this many scales.
    held = bool(order) and network.unvoiced_reach is not None
    reaches = [network.unvoiced_reach if held and voicing(frame, config.mel) < 0.2 else math.inf for frame in mel.T]

    # Step by step, and within each step sample by sample.
    streams: list[list[Array]] = [[] for _ in network.dilations]  # x going into each layer, at all steps so far
    parameters = []
    for n in range(len(samples) // step):
        begin = n * step
        frame, phase = divmod(n, hop_length // step)
        h = sum(w["upsampling.kernel"][phase, j] * c[:, frame + j] for j in range(network.upsampling_taps))
        x = read(w, config, begin, samples, locations, excitation, echo)
        skips = w["skip.bias"]
        half = network.gate_channels // 2
        for index, dilation in enumerate(network.dilations):
            v = w[f"layers.{index}.V"]
            streams[index].append(x)
            a = w[f"layers.{index}.bias"] + v[:, : len(h)] @ h
            if speaker is not None:  # the last columns of V are the paper's U
                a = a + v[:, len(h) :] @ w["speaker_embedding.weight"][speaker]
            for k, tap in enumerate(np.split(w[f"layers.{index}.W"], kernel_size, axis=1)):
                then = n - (kernel_size - 1 - k) * dilation
                a = a + tap @ streams[index][then] if then >= 0 else a
            z = np.tanh(a[:half]) / (1 + np.exp(-a[half:]))
            if index + 1 < len(network.dilations):  # nobody reads the stream after the last layer
                way_back = w[f"layers.{index}.residual.weight"] @ z + w[f"layers.{index}.residual.bias"]
                x = (x + way_back) * network.residual_scale
            skips = skips + w["skip.weight"][:, index * half : (index + 1) * half] @ z
        s = np.maximum(skips * skip_scale, 0)
        places = np.split(w["output_1.weight"] @ s + w["output_1.bias"], step)
        for t, y in zip(range(begin, begin + step), places, strict=True):
            if network.recent_excitations:
                near = [at(excitation, t - network.recent_excitations + j) for j in range(network.recent_excitations)]
                y = y + w["recent.weight"] @ np.array([*near, at(samples, t - 1), locations[t], echo[t]])
            row = w["output_2.weight"] @ np.maximum(y, 0) + w["output_2.bias"]
            if order:  # the law of `location + scale · y`
                logits, mean, log_scale = np.split(row, 3)
                reach = reaches[t // hop_length]
                mean, log_scale = np.clip(mean, -reach, reach), np.minimum(log_scale, np.log(reach))
                row = np.concatenate([logits, locations[t] + scales[t] * mean, log_scale + math.log(scales[t])])
            parameters.append(row)
    return np.stack(parameters)
