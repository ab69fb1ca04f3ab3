"""Mel spectrograms to waveforms with an autoregressive WaveNet.

    mel = vocoder.example().mel                                         # of a recording that ships, to try it with
    waveform = vocoder.infer(mel)                                       # one call, the voice that ships with it
    vocoder.save("copy.wav", waveform, 22_050)                          # or .flac, .ogg
    model = vocoder.Vocoder.from_pretrained("folder, .ckpt or hub id")  # your own
    waveform = model.infer(mel, seed=1, temperature=0.9)
    waveform = model.infer(mel, dialect="tacotron2")                    # mels of any system that `dialects` lists
    stream = model.stream()                                             # frames in as they come, samples out

The rooms of the package, in the order in which the signal flows:

    config      what a mel means and what the network looks like: `MelConfig`, `NetworkConfig`
    formats     what the numbers of a stored model mean
    features    audio files, waveform → mel, and mels of one dialect → another's
    model       the network: mel and past samples → the law of the next sample
    bundles     models as folders: on disk, on the Hugging Face Hub
    engines     generation, sample by sample
    inference   `Vocoder`: loading, checking, inferring, streaming
    plots       pictures of mels, runs and networks
    data        corpora for training
    evaluation  measures, a page to listen to, blind tests
    training    the Lightning module and the command `fit`
    interop     other projects' models and pipelines
    service     synthesis over HTTP and WebSockets
    bench       how fast all is, beside others
    cli         the command line

Importing this loads nothing of training: neither Lightning nor wandb, librosa or torchaudio.
"""

from importlib.metadata import PackageNotFoundError, version

from vocoder.config import DistributionConfig, MelConfig, NetworkConfig, VocoderConfig, WaveformConfig
from vocoder.features.audio import save_audio as save
from vocoder.features.conversion import convert_mel
from vocoder.features.dialects import DIALECTS as dialects  # noqa: N811 a mapping for its readers, a constant for us
from vocoder.features.dialects import guess_dialect
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.example import example
from vocoder.inference.vocoder import Vocoder, infer

try:
    __version__ = version("vocoder")  # which pyproject.toml says
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "unknown"

__all__ = [
    "DistributionConfig",
    "LogMelSpectrogram",
    "MelConfig",
    "NetworkConfig",
    "Vocoder",
    "VocoderConfig",
    "WaveformConfig",
    "__version__",
    "convert_mel",
    "dialects",
    "example",
    "guess_dialect",
    "infer",
    "save",
]
