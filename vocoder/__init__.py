"""Mel spectrograms to waveforms with an autoregressive WaveNet.

    waveform = vocoder.infer(mel)                                       # one call, the voice that ships with it
    model = vocoder.Vocoder.from_pretrained("folder, .ckpt or hub id")  # your own
    waveform = model.infer(mel, seed=1, temperature=0.9)

The rooms of the package, in the order in which the signal flows:

    config      what a mel means and what the network looks like: `MelConfig`, `NetworkConfig`
    features    audio files, and waveform → mel
    model       the network: mel and past samples → the law of the next sample
    engines     generation, sample by sample
    inference   `Vocoder`: loading, checking, inferring
    data        corpora for training
    training    the Lightning module and the command `fit`
    cli         the command line

Importing this loads nothing of training: neither Lightning nor wandb, librosa or torchaudio.
"""

from importlib.metadata import PackageNotFoundError, version

from vocoder.config import DistributionConfig, MelConfig, NetworkConfig, VocoderConfig
from vocoder.inference.vocoder import Vocoder, infer

try:
    __version__ = version("vocoder")  # which pyproject.toml says
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "unknown"

__all__ = ["DistributionConfig", "MelConfig", "NetworkConfig", "Vocoder", "VocoderConfig", "__version__", "infer"]
