"""The numbers of a vocoder, as frozen dataclasses: what a mel means and what the network looks like.

Every number lives here once; everything that follows from numbers is a property. Nothing here imports torch.
"""

from vocoder.config.mel import MelConfig
from vocoder.config.network import DistributionConfig, NetworkConfig
from vocoder.config.networks import NETWORKS
from vocoder.config.sampling import MOST_PASSES, SamplingConfig, WaveformConfig
from vocoder.config.vocoder import VocoderConfig, check_names, check_steps, from_dict, to_dict

__all__ = [
    "MOST_PASSES",
    "NETWORKS",
    "DistributionConfig",
    "MelConfig",
    "NetworkConfig",
    "SamplingConfig",
    "VocoderConfig",
    "WaveformConfig",
    "check_names",
    "check_steps",
    "from_dict",
    "to_dict",
]
