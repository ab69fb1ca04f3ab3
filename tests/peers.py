"""Other projects' own code, run where a folder holds their checkouts: the mel functions alone, with their own numbers.

Each checkout is named as its repository; r9y9/wavenet_vocoder has a second one, of its tag v0.1.1, `r9y9-v0.1.1`. Each
file is read from there, and only the named definitions are executed, so that none of a project's many dependencies is
needed. What old code asks of old libraries is provided here.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import librosa
import numpy as np
import pytest
import scipy.signal
import torch
import torchaudio
import yaml
from torch import Tensor


class DoubleTorch:
    """torch as old code knew it, and in double precision: a peer's own float32 is good to some 1e-4 only."""

    float = torch.float64
    FloatTensor = torch.DoubleTensor

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def stft(self, *args: Any, return_complex: bool = False, **others: Any) -> Tensor:
        spectrum = torch.stft(*args, return_complex=True, **others)
        return spectrum if return_complex else torch.view_as_real(spectrum)


def old_mel(sr: int, n_fft: int, n_mels: int = 128, fmin: float = 0.0, fmax: float | None = None, **others: Any) -> Any:
    return librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, dtype=np.float64, **others)


def old_stft(y: Any, pad_mode: Any = "reflect", **others: Any) -> Any:
    """Until librosa 0.10, ends were mirrored unless told otherwise."""
    return librosa.stft(y, pad_mode=pad_mode, **others)


OLD_LIBROSA = SimpleNamespace(
    stft=old_stft,
    filters=SimpleNamespace(mel=old_mel),
    feature=SimpleNamespace(melspectrogram=lambda S, sr, **o: old_mel(sr, **o) @ S),  # noqa: N803
)
EVERYWHERE = {
    "np": np,
    "torch": DoubleTorch(),
    "nn": torch.nn,
    "F": torch.nn.functional,
    "Variable": lambda tensor, **_: tensor,
    "librosa": OLD_LIBROSA,
    "librosa_mel_fn": old_mel,
    "torchaudio": torchaudio,
    "math": math,
    "random": random,
    "get_window": scipy.signal.get_window,
    "pad_center": lambda window, size: librosa.util.pad_center(window, size=size),
    "scipy": SimpleNamespace(signal=scipy.signal),
    "dataclass": dataclasses.dataclass,
    "logging": Mock(),
    "check_argument_types": lambda: True,
}


def load(file: Path, *names: str, **given: Any) -> Any:
    """The named definitions of a file (all if none is named, except imports), as a namespace."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".pyx":  # Cython begins after the part that is Python
        text = "".join(line for line in text.partition("def batch_lws")[0].splitlines(True) if "cimport" not in line)
    kept = [node for node in ast.parse(text).body if _is_wanted(node, names)]
    space = {**EVERYWHERE, "__name__": __name__, **given}
    # Compiled as this module is: annotations, which name what is not there, are not evaluated.
    exec(compile(ast.Module(kept, type_ignores=[]), str(file), "exec"), space)
    return SimpleNamespace(**{name: value for name, value in space.items() if name.isidentifier()})


def _is_wanted(node: ast.stmt, names: tuple[str, ...]) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return False
    if not names:
        return True
    if isinstance(node, ast.Assign):
        return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))
    return getattr(node, "name", None) in names


HIFIGAN_NAMES = ("mel_spectrogram", "spectral_normalize_torch", "dynamic_range_compression_torch", "mel_basis",
                 "hann_window", "mel_basis_cache", "hann_window_cache")  # fmt: skip


def hifigan(peers: Path, waveform: Tensor, code: str, numbers: dict[str, Any]) -> Tensor:
    keys = ("n_fft", "num_mels", "sampling_rate", "hop_size", "win_size", "fmin", "fmax")
    module = load(peers / code, *HIFIGAN_NAMES)
    return module.mel_spectrogram(waveform[None], *(numbers[key] for key in keys))[0]


def hifigan_json(peers: Path, waveform: Tensor, code: str, config: str) -> Tensor:
    return hifigan(peers, waveform, code, json.loads((peers / config).read_text()))


def cosyvoice(peers: Path, waveform: Tensor, config: str) -> Tensor:
    """CosyVoice calls Matcha-TTS's function; of its YAML, the block `feat_extractor`."""
    text = (peers / "CosyVoice/examples/libritts" / config).read_text().partition("feat_extractor:")[2]
    block = yaml.safe_load("{" + ", ".join(line.strip() for line in text.splitlines()[1:9]).replace("!ref", "") + "}")
    return hifigan(peers, waveform, "Matcha-TTS/matcha/utils/audio.py", {**block, "sampling_rate": 24_000})


def matcha(peers: Path, waveform: Tensor) -> Tensor:
    data = yaml.safe_load((peers / "Matcha-TTS/configs/data/ljspeech.yaml").read_text())
    numbers = {"num_mels": data["n_feats"], "sampling_rate": data["sample_rate"], "hop_size": data["hop_length"],
               "win_size": data["win_length"], "fmin": data["f_min"], "fmax": data["f_max"], **data}  # fmt: skip
    normalize = load(peers / "Matcha-TTS/matcha/utils/model.py", "normalize").normalize
    mel = hifigan(peers, waveform, "Matcha-TTS/matcha/utils/audio.py", numbers)
    return normalize(mel, data["data_statistics"]["mel_mean"], data["data_statistics"]["mel_std"])


def tacotron2(peers: Path, waveform: Tensor, **numbers: Any) -> Tensor:
    folder = peers / "tacotron2"
    compression = load(folder / "audio_processing.py", "dynamic_range_compression")
    stft = load(folder / "stft.py", "STFT").STFT
    given = {"dynamic_range_compression": compression.dynamic_range_compression, "STFT": stft}
    return (
        load(folder / "layers.py", "TacotronSTFT", **given).TacotronSTFT(**numbers).mel_spectrogram(waveform[None])[0]
    )


def nv_wavenet(peers: Path, waveform: Tensor) -> Tensor:
    """nv-wavenet takes Tacotron 2's class as a submodule."""
    config = json.loads((peers / "nv-wavenet/pytorch/config.json").read_text())["data_config"]
    keys = ("filter_length", "hop_length", "win_length", "sampling_rate")
    return tacotron2(peers, waveform, **{key: config[key] for key in keys})


def parallel_wavegan(peers: Path, waveform: Tensor, config: str) -> Any:
    folder = peers / "ParallelWaveGAN"
    numbers = yaml.safe_load((folder / "egs" / config).read_text())
    keys = ("sampling_rate", "fft_size", "hop_size", "win_length", "window", "num_mels", "fmin", "fmax")
    extract = load(folder / "parallel_wavegan/bin/preprocess.py", "logmelfilterbank").logmelfilterbank
    return extract(waveform.numpy(), **{key: numbers[key] for key in keys})


def espnet(peers: Path, waveform: Tensor) -> Tensor:
    folder = peers / "espnet/espnet2"
    given = {"InversibleInterface": object, "is_torch_1_10_plus": True, "typechecked": lambda f: f,
             "make_pad_mask": lambda lengths, *_: torch.zeros((), dtype=torch.bool)}  # fmt: skip
    stft = load(folder / "layers/stft.py", "Stft", **given).Stft
    log_mel = load(folder / "layers/log_mel.py", "LogMel", **given).LogMel
    given = {"Stft": stft, "LogMel": log_mel, "AbsFeatsExtract": torch.nn.Module}
    extract = load(folder / "tts/feats_extract/log_mel_fbank.py", "LogMelFbank", **given).LogMelFbank(
        fs=22_050, n_fft=1024, hop_length=256, win_length=None, fmin=80, fmax=7600, n_mels=80
    )  # egs2/ljspeech/tts1/run.sh
    return extract(waveform[None], torch.tensor([len(waveform)]))[0][0]


def speecht5(peers: Path, waveform: Tensor) -> Any:
    folder = peers / "transformers/src/transformers"
    tools = load(folder / "audio_utils.py", "mel_filter_bank", "hertz_to_mel", "mel_to_hertz",
                 "_create_triangular_filter_bank", "window_function", "spectrogram", "optimal_fft_length")  # fmt: skip

    class Base:
        def __init__(self, feature_size: int, sampling_rate: int, padding_value: float) -> None:
            self.sampling_rate = sampling_rate

    given = {"SequenceFeatureExtractor": Base, **vars(tools)}
    file = folder / "models/speecht5/feature_extraction_speecht5.py"
    return (
        load(file, "SpeechT5FeatureExtractor", **given)
        .SpeechT5FeatureExtractor()
        ._extract_mel_features(waveform.numpy())
    )


def r9y9(peers: Path, waveform: Tensor) -> Any:
    folder = peers / "wavenet_vocoder"
    hparams = SimpleNamespace(**json.loads((folder / "egs/mol/conf/mol_wavenet.json").read_text()))
    return load(folder / "audio.py", hparams=hparams).logmelspectrogram(waveform.numpy()).T


def r9y9_v0(peers: Path, waveform: Tensor) -> Any:
    """Without the frames before ours and after; see `renditions.r9y9_v0`."""
    folder = peers / "r9y9-v0.1.1"
    lws = load(peers / "lws/python/lws.pyx", "hann", "synthwin", "stft")

    class Processor:
        def __init__(self, size: int, shift: int, mode: str) -> None:
            root = np.sqrt(lws.hann(size, symmetric=True, use_offset=False))
            self.stft = partial(
                lws.stft, fsize=size, fshift=shift, awin=np.sqrt(root * lws.synthwin(root, shift)), perfectrec=True
            )

    flow = SimpleNamespace(contrib=SimpleNamespace(training=SimpleNamespace(HParams=SimpleNamespace)))
    hparams = load(folder / "hparams.py", "hparams", tf=flow).hparams
    mel = load(folder / "audio.py", hparams=hparams, lws=SimpleNamespace(lws=Processor)).melspectrogram(
        waveform.numpy()
    )
    return mel.T[1 : 2 + len(waveform) // hparams.hop_size]


def wavernn(peers: Path, waveform: Tensor) -> Any:
    numbers = load(peers / "WaveRNN/hparams.py", "sample_rate", "n_fft", "num_mels", "hop_length", "win_length", "fmin",
                   "min_level_db", "ref_level_db")  # fmt: skip
    return load(peers / "WaveRNN/utils/dsp.py", hp=numbers).melspectrogram(waveform.numpy())


def coqui(peers: Path, waveform: Tensor, **recipe: Any) -> Any:
    folder = peers / "TTS/TTS"
    transforms = vars(load(folder / "utils/audio/numpy_transforms.py"))
    config = load(folder / "config/shared_configs.py", "BaseAudioConfig", Coqpit=object).BaseAudioConfig
    numbers = {**dataclasses.asdict(config()), **recipe, "verbose": False}
    processor = load(folder / "utils/audio/processor.py", "AudioProcessor", **transforms).AudioProcessor
    return processor(**numbers).melspectrogram(waveform.numpy())


def vocos(peers: Path, waveform: Tensor) -> Tensor:
    safe_log = load(peers / "vocos/vocos/modules.py", "safe_log").safe_log
    names = ("FeatureExtractor", "MelSpectrogramFeatures")
    return load(peers / "vocos/vocos/feature_extractors.py", *names, safe_log=safe_log).MelSpectrogramFeatures()(
        waveform[None]
    )[0]


def f5_tts(peers: Path, waveform: Tensor) -> Tensor:
    names = ("get_vocos_mel_spectrogram", "vocos_mel_stft_cache")
    return load(peers / "F5-TTS/src/f5_tts/model/modules.py", *names).get_vocos_mel_spectrogram(waveform[None])[0]


def styletts2(peers: Path, waveform: Tensor) -> Tensor:
    return load(peers / "StyleTTS2/meldataset.py", "to_mel", "mean", "preprocess").preprocess(waveform.numpy())[0]


def nemo(peers: Path, waveform: Tensor, config: str) -> Tensor:
    """Numbers from its YAML, where a name stands for one further up; all but the frames that it masks."""
    whole = yaml.safe_load((peers / "NeMo/examples/tts/conf" / config).read_text())
    known = {"model": whole.get("model", {}), **whole}

    def resolve(value: Any) -> Any:
        while isinstance(value, str) and value.startswith("${"):
            found: Any = known
            for key in value[2:-1].split("."):
                found = found[key]
            value = found
        return float(value) if isinstance(value, str) and value.startswith("1e") else value

    block = whole["model"].get("preprocessor") or whole["preprocessor"]
    numbers = {key: resolve(value) for key, value in block.items()}
    if "features" in numbers:  # AudioToMelSpectrogramPreprocessor hands it on by this name
        numbers["nfilt"] = numbers.pop("features")
    for key in ("_target_", "window_size", "window_stride"):
        numbers.pop(key, None)
    file = peers / "NeMo/nemo/collections/asr/parts/preprocessing/features.py"
    features = load(file, "FilterbankFeatures", CONSTANT=1e-5).FilterbankFeatures(**numbers).eval()
    length = torch.tensor([len(waveform)])
    mel, frames = features(waveform[None], length)
    return mel[0, :, : int(frames)]


def rayhane(peers: Path, waveform: Tensor) -> Any:
    folder = peers / "Tacotron-2"
    flow = SimpleNamespace(contrib=SimpleNamespace(training=SimpleNamespace(HParams=SimpleNamespace)))
    hparams = load(folder / "hparams.py", "hparams", tf=flow).hparams
    audio = load(folder / "datasets/audio.py", tf=None, signal=scipy.signal)
    emphasised = audio.preemphasis(waveform.numpy(), hparams.preemphasis, hparams.preemphasize)
    return audio.melspectrogram(emphasised, hparams)


def real_time_voice_cloning(peers: Path, waveform: Tensor) -> Any:
    folder = peers / "Real-Time-Voice-Cloning/synthesizer"
    hparams = load(folder / "hparams.py", "HParams", "hparams", ast=ast).hparams
    audio = load(folder / "audio.py", signal=scipy.signal)
    return audio.melspectrogram(waveform.numpy(), hparams)


def _bigvgan(name: str) -> Callable[[Path, Tensor], Any]:
    return partial(hifigan_json, code="BigVGAN/meldataset.py", config=f"BigVGAN/configs/bigvgan_v2_{name}.json")


PEERS: dict[str, Callable[[Path, Tensor], Any]] = {
    "tacotron2": tacotron2,
    "hifigan": partial(hifigan_json, code="hifi-gan/meldataset.py", config="hifi-gan/config_v1.json"),
    "matcha-ljspeech": matcha,
    "bigvgan-22k-full": _bigvgan("22khz_80band_256x"),
    "bigvgan-24k": _bigvgan("24khz_100band_256x"),
    "bigvgan-44k": _bigvgan("44khz_128band_256x"),
    "bigvgan-44k-512": _bigvgan("44khz_128band_512x"),
    "cosyvoice2": partial(cosyvoice, config="cosyvoice2/conf/cosyvoice2.yaml"),
    "cosyvoice3": partial(cosyvoice, config="cosyvoice3/conf/cosyvoice3.yaml"),
    "parallel-wavegan": partial(parallel_wavegan, config="ljspeech/voc1/conf/parallel_wavegan.v1.yaml"),
    "parallel-wavegan-24k": partial(parallel_wavegan, config="libritts/voc1/conf/hifigan.v1.yaml"),
    "espnet": espnet,
    "speecht5": speecht5,
    "r9y9": r9y9,
    "r9y9-v0.1.1": r9y9_v0,
    "wavernn": wavernn,
    "coqui": coqui,
    "coqui-ddc": partial(coqui, signal_norm=False, mel_fmax=8000, spec_gain=1.0, log_func="np.log"),
    "vocos-24k": vocos,
    "f5-tts": f5_tts,
    "styletts2": styletts2,
    "nemo-hifigan": partial(nemo, config="hifigan/hifigan.yaml"),
    "nemo-hifigan-44k": partial(nemo, config="hifigan/hifigan_44100.yaml"),
    "nemo-fastpitch": partial(nemo, config="fastpitch_align_v1.05.yaml"),
    "nemo-fastpitch-44k": partial(nemo, config="fastpitch_align_44100.yaml"),
    "nemo-22k": partial(nemo, config="fastpitch/fastpitch_22050.yaml"),
    "nemo-44k": partial(nemo, config="fastpitch/fastpitch_44100.yaml"),
    "nv-wavenet": nv_wavenet,
    "rayhane": rayhane,
    "real-time-voice-cloning": real_time_voice_cloning,
}


def run_peer(name: str, peers: Path, waveform: Tensor) -> Any:
    """A preset's mel (NumPy) by its project's code, in double precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "float", Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            return np.asarray(PEERS[name](peers, waveform.double()))
        finally:
            torch.set_default_dtype(torch.float32)
