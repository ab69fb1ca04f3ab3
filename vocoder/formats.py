"""The meaning of a stored model's numbers, whatever has become of the defaults since.

Bundles and checkpoints name the version of their format. Each says all of its numbers but those that its version did
not have yet, which meant what is written here.
"""

from __future__ import annotations

from typing import Any

FORMAT_VERSION = 2

# What a format meant by a field that it leaves unsaid. These are its own literals: a default that changes today changes
# no stored model.
_FORMAT_1_MEL: dict[str, Any] = {
    "sample_rate": 22_050,
    "n_fft": 1024,
    "win_length": 1024,
    "hop_length": 256,
    "window": "hann",
    "n_mels": 80,
    "f_min": 0.0,
    "f_max": 8000.0,
    "mel_scale": "slaney",
    "mel_norm": "slaney",
    "filterbank_sample_rate": None,
    "power": 1.0,
    "power_epsilon": 1e-9,
    "power_floor": 0.0,
    "log": "ln",
    "guard": "clamp",
    "floor": 1e-5,
    "shift": 0.0,
    "scale": 1.0,
    "clip": None,
    "pre_emphasis": 0.0,
    "framing": "half_hop",
    "edges": "reflect",
    "layout": "bands_first",
}
_FORMAT_1_NETWORK: dict[str, Any] = {
    "residual_channels": 64,
    "gate_channels": 128,
    "skip_channels": 128,
    "kernel_size": 2,
    "dilation_cycles": 2,
    "layers_per_cycle": 10,
    "conditioning_channels": 64,
    "context_frames": 2,
    "upsampling_taps": 3,
    "residual_scale": 1.0,
    "skip_scale": None,
    "linear_prediction_order": 16,
    "num_speakers": 0,
    "speaker_channels": 16,
}
_FORMAT_2_NETWORK: dict[str, Any] = {"unvoiced_reach": None}
_FORMAT_1_DISTRIBUTION: dict[str, Any] = {"name": "mixture_of_logistics", "num_components": 10, "bits": 8}
_FORMAT_1_WAVEFORM: dict[str, Any] = {"pre_emphasis": 0.0, "gain": 1.0}
_FORMAT_1_SAMPLING: dict[str, Any] = {"voiced_temperature": 1.0, "correction_passes": 0}


def upgrade(values: dict[str, Any], version: int) -> dict[str, Any]:
    """Say in today's terms what a stored config meant.

    Args:
        values: The nested dicts with `mel` and `network`, as `to_dict` gave them at the time.
        version: The version of the format that they were stored in, from 1 to `FORMAT_VERSION`.

    Returns:
        The same with every field that this version of vocoder has.
    """
    if version > 1:
        return {**values, "network": {**_FORMAT_2_NETWORK, **values["network"]}}
    network = {**_FORMAT_1_NETWORK, **_FORMAT_2_NETWORK, **values["network"]}
    plain = {  # one sample per step, its law read from the skip sum by two layers of the same width
        "samples_per_step": 1,
        "sample_channels": network["skip_channels"],
        "recent_excitations": 0,
    }
    distribution = {**_FORMAT_1_DISTRIBUTION, **network.get("distribution", {})}
    return {
        **values,
        "mel": {**_FORMAT_1_MEL, **values["mel"]},
        "network": {**plain, **network, "distribution": distribution},
        "waveform": {**_FORMAT_1_WAVEFORM, **values.get("waveform", {})},
        "sampling": {**_FORMAT_1_SAMPLING, **values.get("sampling", {})},
    }
