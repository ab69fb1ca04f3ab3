"""The meaning of r9y9/wavenet_vocoder's hyper-parameters in our configs.

`audio.py`, `datasets/wavallin.py` and `synthesis.py` there are the source, of version 0.2.0 and of 0.1.1, whose
hyper-parameters name a `ref_level_db`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

from vocoder.config import DistributionConfig, MelConfig, NetworkConfig, VocoderConfig, WaveformConfig
from vocoder.features.dialects import DIALECTS
from vocoder.features.statistics import Stats, with_statistics

COUNTS = (
    "sample_rate", "num_mels", "fft_size", "layers", "stacks", "kernel_size", "residual_channels", "gate_channels",
    "skip_out_channels", "out_channels",
)  # fmt: skip
OTHERS = ("input_type", "cin_channels", "fmin", "fmax", "hop_size", "upsample_conditional_features")

REMEDY = "Pass the hparams.json that its train.py has written beside the checkpoint."

# Mean and standard deviation of a log10 mel, roughly, of any band of read speech. They stand in for statistics that are
# not known: 0 and 1 would declare a mel that is not normalised, and any other would pass for this model's.
TYPICAL_STATISTICS = (-2.5, 0.7)


class Hparams(dict[str, Any]):
    """Its hyper-parameters by their names; to ask for one that is not there is the user's error, not ours."""

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"r9y9's hyper-parameters must say `{name}`, but do not. {REMEDY}")


def read_hparams(path: str | os.PathLike[str]) -> Hparams:
    """Read the `hparams.json` that its `train.py` leaves beside the checkpoints.

    Raises:
        OSError: The file is missing or unreadable.
        ValueError: It is no JSON object, or lacks numbers.
    """
    path = Path(path)
    try:
        hparams = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of the encoding or of JSON
        raise ValueError(f"{path} is no valid JSON ({error}). {REMEDY}") from error
    if not isinstance(hparams, dict):
        raise ValueError(f"{path} must hold an object, but holds a {type(hparams).__name__}. {REMEDY}")
    missing = [name for name in (*COUNTS, *OTHERS) if name not in hparams]
    if missing:
        raise ValueError(f"{path} must hold all hyper-parameters, but lacks {', '.join(missing)}. {REMEDY}")
    wrong = [f"{name} {hparams[name]!r}" for name in COUNTS if type(hparams[name]) is not int or hparams[name] < 1]
    if wrong:
        raise ValueError(f"{path} must give positive whole numbers, but has {', '.join(wrong)}. {REMEDY}")
    return Hparams(hparams)


def is_old(hparams: Hparams) -> bool:
    """Say whether they are version 0.1.1's, with its mels by lws."""
    return "ref_level_db" in hparams


def vocoder_config(hparams: Hparams, stats: Stats | None = None, *, conv_in: bool, num_speakers: int) -> VocoderConfig:
    """All that they say.

    Args:
        hparams: The hyper-parameters, from `read_hparams`.
        stats: The statistics; see `mel_config`.
        conv_in: A convolution at frame rate comes before the upsampling. The weights tell: its train.py builds
            ConvInUpsampleNetwork whatever `upsample_net` says.
        num_speakers: The number of rows of the speaker table; 0 where there is none.

    Raises:
        ValueError: Our network cannot be this, or they contradict each other.

    Warns:
        UserWarning: See `mel_config`.
    """
    layers, stacks = hparams["layers"], hparams["stacks"]
    if layers % stacks:
        raise ValueError(f"r9y9's `layers` must be a multiple of `stacks`, but are {layers} and {stacks}. {REMEDY}")
    network = NetworkConfig(
        samples_per_step=1,
        residual_channels=hparams["residual_channels"],
        gate_channels=hparams["gate_channels"],
        skip_channels=hparams["skip_out_channels"],
        kernel_size=hparams["kernel_size"],
        dilation_cycles=stacks,
        layers_per_cycle=layers // stacks,
        conditioning_channels=hparams["cin_channels"],
        context_frames=hparams["cin_pad"] if conv_in else 0,
        upsampling_taps=_upsampling_taps(upsample_scales(hparams)),
        residual_scale=math.sqrt(0.5),
        skip_scale=1.0 if is_old(hparams) else None,
        sample_channels=hparams["skip_out_channels"],
        recent_excitations=0,
        linear_prediction_order=0,
        num_speakers=num_speakers,
        speaker_channels=hparams["gin_channels"] if num_speakers else NetworkConfig.speaker_channels,
        distribution=distribution_config(hparams),
    )
    return VocoderConfig(mel_config(hparams, stats), network, waveform_config(hparams))


def upsample_scales(hparams: Hparams) -> list[int]:
    """By how much each stage of its upsampling lengthens; none where it repeats frames.

    Raises:
        ValueError: They do not make a frame.
    """
    if not hparams["upsample_conditional_features"]:
        return []
    scales = (hparams.get("upsample_params") or {}).get("upsample_scales", [])
    if math.prod(scales) != _hop_length(hparams):
        raise ValueError(
            f"r9y9's `upsample_scales` must multiply to `hop_size`, but {scales} make {math.prod(scales)}, and it is "
            f"{_hop_length(hparams)}. {REMEDY}"
        )
    return list(scales)


def _upsampling_taps(scales: list[int]) -> int:
    """Frames that a sample depends on: each stage reaches one of its inputs to either side."""
    reach, length = 0, 1
    for scale in scales:
        reach, length = (reach + 1) * scale, length * scale
    return 2 * math.ceil(reach / length) + 1


def mel_config(hparams: Hparams, stats: Stats | None = None) -> MelConfig:
    """Give the dialect that the network reads.

    Version 0.2.0 takes log10 and normalises each band by statistics of the corpus, which are in neither of its files.
    Version 0.1.1 maps decibels to [0, 1], and its waveform comes half a window late.

    Args:
        hparams: The hyper-parameters, from `read_hparams`.
        stats: The statistics (mean, standard deviation), or a file of them; see `with_statistics`.

    Raises:
        ValueError: No dialect says this.

    Warns:
        UserWarning: Version 0.2.0's statistics are missing, so that typical ones stand in.
    """
    if hparams.get("window", "hann") != "hann":
        raise ValueError(f"r9y9's `window` must be hann, but is {hparams['window']!r}. No dialect describes another.")
    mel = dataclasses.replace(
        DIALECTS["r9y9-v0.1.1" if is_old(hparams) else "r9y9"],
        sample_rate=hparams["sample_rate"],
        n_fft=hparams["fft_size"],
        win_length=_win_length(hparams),
        hop_length=_hop_length(hparams),
        n_mels=hparams["num_mels"],
        f_min=float(hparams["fmin"] or 0),
        f_max=float(hparams["fmax"] or hparams["sample_rate"] / 2),
        **(_decibels(hparams) if is_old(hparams) else {}),
    )
    if stats is None and is_old(hparams):
        return mel
    if stats is None:
        warnings.warn(
            "The network reads mels normalised by its corpus' mean and standard deviation of each band, which were not "
            "given. Typical ones stand in: mels normalised by the true ones sound right, those computed or converted "
            "here only roughly so. Pass `stats`: r9y9's meanvar.joblib, converted to .npz.",
            stacklevel=4,  # the caller of import_r9y9
        )
        stats = TYPICAL_STATISTICS
    return with_statistics(mel, stats)


def _decibels(hparams: Hparams) -> dict[str, Any]:
    """Express (20 log10(max(band, lowest)) - reference - lowest) / -lowest in a dialect's fields.

    The bands are those of lws: sqrt(1/2) of a plain window's.
    """
    lowest, lws = hparams["min_level_db"], 10 * math.log10(2)
    return {
        "floor": 10 ** ((lowest + lws) / 20),
        "shift": hparams["ref_level_db"] + lowest + lws,
        "scale": -float(lowest),
    }


def _hop_length(hparams: Hparams) -> int:
    return int(hparams["hop_size"] or (hparams.get("frame_shift_ms") or 0) / 1000 * hparams["sample_rate"])


def _win_length(hparams: Hparams) -> int:
    length = hparams.get("win_length", hparams["fft_size"])  # version 0.1.1 knows no other
    return int(length if length > 0 else hparams["win_length_ms"] / 1000 * hparams["sample_rate"])


def waveform_config(hparams: Hparams) -> WaveformConfig:
    """Say what is done to the waveform after its mel is computed and before the network sees it.

    Raises:
        ValueError: It is something else than pre-emphasis.
    """
    preprocess = hparams.get("preprocess") or "none"
    if preprocess not in ("none", "preemphasis"):
        raise ValueError(f"r9y9's `preprocess` must be preemphasis or none, but is {preprocess!r}. Take another model.")
    gain = hparams.get("global_gain_scale", 1.0)
    return WaveformConfig(
        pre_emphasis=0.85 if preprocess == "preemphasis" else 0.0,  # in its code, not among its hyper-parameters
        gain=float(gain) if gain > 0 else 1.0,
    )


def distribution_config(hparams: Hparams) -> DistributionConfig:
    """Give the law of a sample.

    Raises:
        ValueError: It is none of our laws.
    """
    kind, channels = hparams["input_type"], hparams["out_channels"]
    if kind == "mulaw-quantize":
        return _mu_law(hparams)
    if kind != "raw":
        raise ValueError(
            f"r9y9's `input_type` must be raw or mulaw-quantize, but is {kind!r}: a continuous law of the companded "
            "waveform, which is none of ours. Train a raw model."
        )
    family = hparams.get("output_distribution", "Logistic")
    name = {"Logistic": "mixture_of_logistics", "Normal": "gaussian"}.get(family)
    single = channels == 2 and name == "gaussian"
    if name is None or not (single or (channels > 0 and channels % 3 == 0)):
        raise ValueError(
            "r9y9's `out_channels` must be three for each component of a Logistic or Normal mixture, or 2 for a single "
            f"Normal, but is {channels} with `output_distribution` {family}. {REMEDY}"
        )
    return DistributionConfig(name, num_components=1 if single else channels // 3)  # type: ignore[arg-type]


def _mu_law(hparams: Hparams) -> DistributionConfig:
    channels = hparams["out_channels"]
    if channels != hparams.get("quantize_channels") or not math.log2(channels).is_integer():
        raise ValueError(
            "r9y9's `out_channels` must equal `quantize_channels` and be a power of two where `input_type` is "
            f"mulaw-quantize, but they are {channels} and {hparams.get('quantize_channels')}. {REMEDY}"
        )
    if is_old(hparams):
        raise ValueError(
            f"Version 0.1.1 of r9y9/wavenet_vocoder spreads {channels} levels by a mu-law of mu {channels}, ours of mu "
            f"{channels - 1}: no level would mean the same. Take a raw model, or one of version 0.2.0."
        )
    return DistributionConfig("mu_law_categorical", bits=int(math.log2(channels)))
