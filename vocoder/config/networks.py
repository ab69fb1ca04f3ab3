"""The networks that recipes and benchmarks name."""

from __future__ import annotations

from dataclasses import replace

from vocoder.config.network import DistributionConfig, NetworkConfig

# One sample per step, its law read from the skip sum by two layers: what WaveNet was before `samples_per_step`.
_PLAIN = NetworkConfig(
    samples_per_step=1,
    sample_channels=128,
    recent_excitations=0,
    distribution=DistributionConfig("mixture_of_logistics", num_components=10),
)

NETWORKS = {
    "wavenet-64": _PLAIN,
    "wavenet-64-g4": NetworkConfig(samples_per_step=4),
    "wavenet-64-g8": NetworkConfig(),
    "wavenet-128": replace(
        _PLAIN,
        residual_channels=128,
        gate_channels=256,
        skip_channels=256,
        conditioning_channels=128,
        dilation_cycles=3,
        sample_channels=256,
    ),
    "wavenet-128-g8": NetworkConfig(
        residual_channels=128,
        gate_channels=256,
        skip_channels=256,
        conditioning_channels=128,
        dilation_cycles=3,
        sample_channels=128,
    ),
    # The geometry of r9y9/wavenet_vocoder's egs/mol: 24 layers in 4 stacks, kernel 3, no linear prediction.
    "r9y9-mol": replace(
        _PLAIN,
        residual_channels=128,
        gate_channels=256,
        kernel_size=3,
        dilation_cycles=4,
        layers_per_cycle=6,
        conditioning_channels=80,
        residual_scale=0.5**0.5,
        linear_prediction_order=0,
    ),
}
