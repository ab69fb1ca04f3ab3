"""The baselines that a model is compared with: Griffin-Lim, and other vocoders' copies from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import librosa
import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.functional import griffinlim

from vocoder.config import MelConfig, WaveformConfig
from vocoder.data.decoded import open_recording
from vocoder.data.layouts import AUDIO_SUFFIXES, audio_files
from vocoder.features.audio import load_audio
from vocoder.features.filterbank import analysis_window, mel_filterbank
from vocoder.features.mel import LogMelSpectrogram
from vocoder.features.values import log_bands
from vocoder.inference.deemphasis import Deemphasis

ITERATIONS = 60
MOMENTUM = 0.99  # Perraudin et al. 2013, "A fast Griffin-Lim algorithm"


def griffin_lim(log_mel: Tensor, mel: MelConfig) -> Tensor:
    """Estimate magnitudes by non-negative least squares (librosa's), phases by iteration (torchaudio's).

    Args:
        log_mel: The log-mel (n_mels, frames), in the dialect.
        mel: The dialect.

    Returns:
        The waveform (frames · hop_length,), in [-1, 1].
    """
    bands = log_bands(log_mel.T.double(), mel).exp().T
    spectrum = librosa.util.nnls(mel_filterbank(mel).T.numpy(), bands.numpy())
    magnitude = torch.from_numpy(spectrum).clamp(min=0).pow(1 / mel.power).float()
    # torchaudio's first frame is centred on the first sample. Ours may lie later, by up to half a hop: a frame more at
    # each end, and the waveform is cut out from where ours begin.
    begin = mel.hop_length - (mel.n_fft // 2 - LogMelSpectrogram(mel).padding[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of the phases to begin with
        waveform = griffinlim(
            F.pad(magnitude[None], (1, 1), mode="replicate"),
            window=analysis_window(mel).float(),
            n_fft=mel.n_fft,
            hop_length=mel.hop_length,
            win_length=mel.win_length,
            power=1.0,
            n_iter=ITERATIONS,
            momentum=MOMENTUM,
            length=None,
            rand_init=True,
        )
    inside = waveform[:, begin : begin + log_mel.shape[1] * mel.hop_length]
    return Deemphasis(WaveformConfig(pre_emphasis=mel.pre_emphasis))(inside)[0].clamp(-1, 1)


class CopyFolder:
    """A folder in which another vocoder left its copies, one file for each utterance, named by its id.

    Both a tree as the corpus has (`a/b.wav` for the id `a/b`) and a flat folder (`b.wav`).

    Args:
        name: The name of the system.
        folder: The folder of its files.

    Raises:
        ValueError: There is no such folder, or no audio in it.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        if not folder.is_dir():
            raise ValueError(f"--compare {name} needs a folder of audio, but there is none at {folder}.")
        files = audio_files(folder)
        if not files:
            raise ValueError(
                f"--compare {name} needs a folder of audio, but in {folder} no file ends in "
                f"{', '.join(sorted(AUDIO_SUFFIXES))}."
            )
        self._files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}

    def check(self, utterances: Sequence[str]) -> None:
        """Refuse a file that could be the copy of two utterances.

        Raises:
            ValueError: There is one.
        """
        owners: dict[Path, str] = {}
        for utterance in utterances:
            path = self.find(utterance)
            owner = owners.setdefault(path, utterance) if path else utterance
            if owner != utterance:
                raise ValueError(
                    f"{path} of {self.name} could be the copy of {owner} or of {utterance}. Put copies into folders as "
                    "the corpus has them."
                )

    def find(self, utterance: str) -> Path | None:
        """Find the file of an utterance, if there is one."""
        return self._files.get(utterance) or self._files.get(utterance.rsplit("/", 1)[-1])

    def load(self, utterance: str, sample_rate: int, samples: int, slack: int) -> Tensor:
        """One copy, brought to the recording's length.

        A copy begins with the recording's first sample. What is more than the recording is cut off, and up to `slack`
        samples less are silence: vocoders differ by a frame or two at the end. Nothing else is aligned.

        Returns:
            (samples,).

        Raises:
            ValueError: There is no file, it is damaged, of another rate, or too short or too long.
        """
        path = self.find(utterance)
        if path is None:
            raise ValueError(f"{self.name} has no file for {utterance} in {self.folder}.")
        waveform = load_audio(path, sample_rate)
        with open_recording(path) as file:
            rate = file.samplerate
        if rate != sample_rate:
            raise ValueError(
                f"{path.name} of {self.name} has {rate} Hz, the recording {sample_rate}. Render it at that."
            )
        missing = samples - len(waveform)
        if abs(missing) > slack:
            raise ValueError(
                f"{path.name} of {self.name} is {len(waveform)} samples long, the recording {samples}. Up to {slack} "
                "more or less are taken: is it the same utterance?"
            )
        return F.pad(waveform[:samples], (0, max(missing, 0)))
