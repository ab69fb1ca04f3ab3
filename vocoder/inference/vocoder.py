"""Mel in, waveform out: what a text-to-speech system uses."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.config import MelConfig, VocoderConfig
from vocoder.engines import Engine, create_engine
from vocoder.engines.noise import check_key, draw_noise
from vocoder.inference.batching import Utterance, run_side_by_side
from vocoder.inference.bundle import CONFIG_FILE, WEIGHTS_FILE, Bundle, load_bundle, load_checkpoint, save_bundle
from vocoder.inference.checks import check_fold, check_mel, check_speaker, check_temperature
from vocoder.inference.folding import count_pieces, infer_folded, measure_power
from vocoder.model.wavenet import Conditioning, WaveNet

DEFAULT_MODEL = "kathleen-64"
VOICES = Path(__file__).resolve().parents[1] / "voices"  # models that ship within the package
PIECE_FRAMES = 64  # generated at a time, so that noise needs constant memory; no bit of the waveform depends on it

ModelName = str | os.PathLike[str]


class Vocoder:
    """A trained network and the dialect of mels it understands.

    Args:
        config: Of mel and network.
        network: Put into eval mode; its weights must not change from here on.
        training: Facts about how it was trained, for people to read.

    Attributes:
        config: As given.
        network: As given.
        training: As given; empty if unknown.

    Example:
        >>> vocoder = Vocoder.from_pretrained("kathleen-64")  # doctest: +SKIP
        >>> waveform = vocoder.infer(mel)  # doctest: +SKIP
    """

    def __init__(self, config: VocoderConfig, network: WaveNet, training: dict[str, Any] | None = None) -> None:
        self.config, self.network, self.training = config, network.eval(), dict(training or {})
        self._engines: dict[tuple[str, str, int | None], Engine] = {}

    @classmethod
    def from_pretrained(
        cls, model: ModelName, *, device: str | torch.device | None = None, revision: str | None = None
    ) -> Vocoder:
        """Load a model.

        Args:
            model: In this order: a folder made by `save_pretrained` or `vocoder export`; a training checkpoint
                (`.ckpt`); the name of a voice that ships with the package; a Hugging Face Hub id, `user/name`.
            device: Where to infer; the CPU if None.
            revision: Branch, tag or commit on the hub.

        Raises:
            OSError: There is no such model, or it cannot be read or fetched.
            ValueError: A file is damaged, or no vocoder's.
            ImportError: A hub id was given, and huggingface_hub is not installed.
        """
        bundle = _load(model, revision)
        return cls(bundle.config, bundle.network.to(device or "cpu"), bundle.training)

    def save_pretrained(self, folder: ModelName) -> None:
        """Write the model as a bundle, for `from_pretrained` or the hub; see `save_bundle`."""
        save_bundle(folder, self.config, self.network, self.training)

    @property
    def mel(self) -> MelConfig:
        """The dialect of the mels that `infer` takes."""
        return self.config.mel

    @property
    def sample_rate(self) -> int:
        """Of the waveform, in Hz."""
        return self.config.mel.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per mel frame."""
        return self.config.mel.hop_length

    def infer(
        self,
        mel: Tensor | np.ndarray,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        engine: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        speaker: int | Sequence[int] | Tensor | None = None,
        utterance: int = 0,
        fold: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Turn mels into waveforms.

        The result is a function of the arguments: the same on every call, and for each utterance whatever the batch.
        Row b of a batch equals `infer(mel[b], utterance=utterance + b)` bit for bit.

        Args:
            mel: (n_mels, frames), or (batch, n_mels, frames) for utterances of equal length, as `self.mel` says.
            seed: Of the noise, from 0 to 2**64 - 1.
            temperature: Multiplies the spread of each sample's law; positive. 1 samples the model, less is duller.
            engine: `auto` for the fastest, or the name of one: `native` (C++ on the CPU) or `torch` (slow, any device).
            precision: Of the engine's matrix products; see `vocoder.engines.NativeEngine`. Another precision gives
                another waveform, as another seed does.
            threads: At most so many; None for what is fastest. No bit of the waveform depends on it.
            speaker: Index of the voice, one for all or one for each utterance; for models of several voices only.
            utterance: Index of the (first) utterance, which with the seed makes its noise: number the parts of a text
                so that they do not all get the same.
            fold: Cut what is long into pieces of a second or more, generate them side by side and join them: faster,
                another waveform as another seed gives, and the joins are there to be looked for. Below two seconds it
                changes nothing. See `vocoder.inference.folding`.
            progress: Called now and then with the number of samples made since the last call.

        Returns:
            (time,), or (batch, time) for a batch: float32 in [-1, 1] at `sample_rate` Hz on the model's device;
            time = frames · hop_length.

        Raises:
            TypeError: An argument is of a wrong kind.
            ValueError: An argument breaks a rule; the message says which, and what to do.

        Warns:
            UserWarning: The mel looks like another dialect's.
        """
        seed, temperature = check_key("seed", seed), check_temperature(temperature)
        mels, fold = check_mel(mel, self.mel), check_fold(fold)
        speakers = check_speaker(speaker, self.config.network.num_speakers, len(mels))
        first = check_key("utterance", utterance)
        utterances = [check_key("utterance", first + row) for row in range(len(mels))]
        runner = self._engine(engine, precision, threads)
        conditioning = self._condition(mels, speakers)
        draw = partial(self._noise, seed)
        if fold and count_pieces(self.network, conditioning.frames) > 1:
            power = measure_power(mels, self.mel)
            whole = infer_folded(runner, conditioning, power, utterances, draw, temperature, progress)
            return whole if mel.ndim == 3 else whole[0]
        state, pieces = runner.initial_state(len(mels)), []
        for start in range(0, conditioning.frames, PIECE_FRAMES):
            piece = conditioning.slice_frames(start, min(start + PIECE_FRAMES, conditioning.frames))
            noise = draw(utterances, start * self.hop_length, piece.frames * self.hop_length)
            waveform, state = runner.generate(
                piece, noise, state, temperature=temperature, progress=progress, consume=True
            )
            pieces.append(waveform)
        whole = torch.cat(pieces, dim=1)
        return whole if mel.ndim == 3 else whole[0]

    def infer_many(
        self,
        mels: Iterable[Tensor | np.ndarray],
        *,
        seed: int = 0,
        temperature: float = 1.0,
        engine: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        speaker: int | Sequence[int] | None = None,
        utterance: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> list[Tensor]:
        """Turn mels of any lengths into waveforms, as many side by side as make best use of the machine.

        Waveform i equals `infer(mels[i], utterance=utterance + i)` bit for bit; only the samples per second differ.

        Args:
            mels: Each (n_mels, frames), or (1, n_mels, frames).
            seed: As for `infer`; so are all that are not named here.
            temperature: Likewise.
            engine: Likewise.
            precision: Likewise.
            threads: Likewise.
            speaker: Index of the voice, one for all or one for each utterance; for models of several voices only.
            utterance: Index of the first utterance.
            progress: Likewise.

        Returns:
            One (time,) for each mel, in their order.

        Raises:
            TypeError: As `infer`; the message says which utterance.
            ValueError: Likewise.
        """
        seed, temperature = check_key("seed", seed), check_temperature(temperature)
        runner = self._engine(engine, precision, threads)
        utterances = self._prepare_many(list(mels), speaker, check_key("utterance", utterance))
        # The longest first: then the rows end at about the same time.
        order = sorted(range(len(utterances)), key=lambda i: utterances[i].frames, reverse=True)
        draw = partial(self._noise, seed)
        waveforms: list[Tensor] = [torch.empty(0)] * len(utterances)
        for index, waveform in run_side_by_side(runner, utterances, order, draw, temperature, progress):
            waveforms[index] = waveform
        return waveforms

    def _prepare_many(
        self, mels: Sequence[Tensor | np.ndarray], speaker: int | Sequence[int] | None, first: int
    ) -> list[Utterance]:
        """Check all, then condition all: an error comes before any work, and names the utterance."""
        checked, several = [], self.config.network.num_speakers
        speakers = check_speaker(speaker, several, len(mels)) if mels else None
        for index, mel in enumerate(mels):
            try:
                mel = check_mel(mel, self.mel)
                if len(mel) != 1:
                    raise ValueError(f"it must be one utterance, but is a batch of {len(mel)}. Pass them one by one.")
            except (TypeError, ValueError) as error:
                raise type(error)(f"Utterance {index}: {error}") from error
            checked.append(mel)
        return [
            Utterance(
                self._condition(mel, None if speakers is None else speakers[index : index + 1]),
                check_key("utterance", first + index),
            )
            for index, mel in enumerate(checked)
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engines": {}}  # made again where the copy is: they hold memory outside Python

    def _engine(self, name: str, precision: str, threads: int | None) -> Engine:
        key = (name, precision, threads)
        if key not in self._engines:
            self._engines[key] = create_engine(name, self.network, precision=precision, threads=threads)
        return self._engines[key]

    @torch.no_grad()
    def _condition(self, mels: Tensor, speakers: Tensor | None) -> Conditioning:
        """Each utterance by itself, so that its bits do not depend on the batch."""
        device = next(self.network.parameters()).device
        mels, speakers = mels.to(device), None if speakers is None else speakers.to(device)
        with torch.autocast(device.type, enabled=False):
            return Conditioning.join(
                [
                    self.network.condition(mels[row : row + 1], None if speakers is None else speakers[row : row + 1])
                    for row in range(len(mels))
                ]
            )

    def _noise(self, seed: int, utterances: Sequence[int], start: int, length: int) -> Tensor:
        noise = draw_noise(self.network.distribution, seed, utterances, start, length)
        return noise.to(next(self.network.parameters()).device)


def infer(mel: Tensor | np.ndarray, model: Vocoder | ModelName = DEFAULT_MODEL, **options: Any) -> Tensor:
    """Turn mels into waveforms in one call; models are kept in memory for the next.

    Args:
        mel: See `Vocoder.infer`.
        model: A `Vocoder`, or what `Vocoder.from_pretrained` takes.
        options: See `Vocoder.infer`.

    Returns:
        See `Vocoder.infer`.
    """
    vocoder = model if isinstance(model, Vocoder) else _cached(os.fspath(model), _stamp(Path(model)))
    return vocoder.infer(mel, **options)


@lru_cache(maxsize=4)
def _cached(model: str, stamp: tuple[str, int] | None) -> Vocoder:
    return Vocoder.from_pretrained(model)


def _stamp(path: Path) -> tuple[str, int] | None:
    """Which file this is and when it last changed, so that a model exported again is loaded again."""
    file = path / CONFIG_FILE if path.is_dir() else path
    return (str(file.resolve()), file.stat().st_mtime_ns) if file.exists() else None


def _load(model: ModelName, revision: str | None) -> Bundle:
    path, name = Path(model), os.fspath(model)
    if path.is_dir():
        return load_bundle(path)
    if path.is_file():
        if path.suffix == ".ckpt":
            return load_checkpoint(path)
        raise ValueError(f"A model is a folder or a .ckpt file, but {path} is neither. For a bundle pass its folder.")
    if name in voices():
        return load_bundle(VOICES / name)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return load_bundle(_download(name, revision))
    raise FileNotFoundError(
        "`model` must be a folder, a .ckpt file, a hub id `user/name` or the name of a voice "
        f"({', '.join(voices()) or 'none is installed'}), but there is no {name!r}. Check its spelling."
    )


def voices() -> list[str]:
    """Names of the models that ship within the package."""
    return sorted(file.parent.name for file in VOICES.glob(f"*/{CONFIG_FILE}"))


def _download(name: str, revision: str | None) -> str:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ImportError(
            f"There is no folder {name!r}, and fetching it from the Hugging Face Hub needs huggingface_hub, which is "
            "not installed. Run `pip install huggingface_hub`, or pass a folder."
        ) from None
    try:
        return snapshot_download(name, revision=revision, allow_patterns=[CONFIG_FILE, WEIGHTS_FILE])
    except (OSError, ValueError) as error:
        raise OSError(
            f"There is no folder {name!r}, and it could not be fetched from the Hugging Face Hub: {error} "
            "Check the name, the network and, for a private model, `hf auth login`."
        ) from error
