"""Mel in, waveform out: what a text-to-speech system uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder.bundles.bundle import Bundle, save_bundle
from vocoder.bundles.hub import push
from vocoder.bundles.names import DEFAULT_MODEL, ModelName, load_model, stamp
from vocoder.config import MelConfig, VocoderConfig
from vocoder.engines import Engine, create_engine
from vocoder.engines.noise import check_key
from vocoder.features.conversion import Fit, compare, make_converter, resolve_dialect
from vocoder.features.statistics import Stats
from vocoder.inference.checks import (
    check_device,
    check_fold,
    check_numbers,
    check_passes,
    check_speaker,
    check_temperature,
    check_voiced_temperature,
)
from vocoder.inference.correction import correction_latency
from vocoder.inference.mel_checks import check_mel, check_utterance, check_values, warn_of_other_dialects
from vocoder.inference.pipeline import Pipeline, Utterance
from vocoder.inference.sampler import Sampler
from vocoder.inference.stream import Stream
from vocoder.model.wavenet import WaveNet

_make_converter = lru_cache(maxsize=16)(make_converter)


class Vocoder:
    """A trained network and the dialect of mels it understands.

    Args:
        config: The config of mel and network.
        network: The network; it is put into eval mode, and its weights must not change from here on.
        training: The facts about how it was trained, for people to read.
        name: The name that `repr` shows.
        engine: The name of the engine: `native` (C++ on the CPU), `graphs` (CUDA devices) or `torch` (slow, any
            device); `auto` for the fastest.
        precision: The precision of the engine's matrix products; see `vocoder.engines.NativeEngine`. Another precision
            gives another waveform, as another seed does.
        threads: The largest number of threads that the engine may use; None for what is fastest. No bit of a waveform
            depends on it.

    Attributes:
        config: The config that was given.
        network: The network that was given.
        training: The facts that were given; empty if unknown.
        name: The name that was given; empty if unknown.

    Example:
        >>> vocoder = Vocoder.from_pretrained("universal")  # doctest: +SKIP
        >>> waveform = vocoder.infer(mel)  # doctest: +SKIP
        >>> waveform = vocoder(mel)  # the same  # doctest: +SKIP
    """

    def __init__(
        self,
        config: VocoderConfig,
        network: WaveNet,
        training: dict[str, Any] | None = None,
        name: str = "",
        *,
        engine: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.config, self.network, self.training, self.name = config, network.eval(), dict(training or {}), name
        self._make_engine = partial(create_engine, engine, precision=precision, threads=threads)
        self._made_engine: Engine | None = None

    @classmethod
    def from_pretrained(
        cls,
        model: ModelName,
        *,
        device: str | torch.device | None = None,
        revision: str | None = None,
        engine: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> Vocoder:
        """Load a model.

        Args:
            model: The model, looked for in this order: a folder made by `save_pretrained` or `vocoder export`; a
                training checkpoint (`.ckpt`); the name of a voice that ships with the package; a Hugging Face Hub id,
                `user/name`.
            device: The device to infer on; the CPU if None.
            revision: The branch, tag or commit on the hub.
            engine: The name of the engine; see `Vocoder`.
            precision: The precision of the engine's matrix products; see `Vocoder`.
            threads: The largest number of threads that the engine may use; see `Vocoder`.

        Raises:
            OSError: There is no such model, or it cannot be read or fetched.
            ValueError: A file is damaged, or no vocoder's.
            ImportError: A hub id was given, and huggingface_hub is not installed.
        """
        place = check_device(device or "cpu")
        bundle = load_model(model, revision)
        name = Path(model).resolve().name if Path(model).exists() else os.fspath(model)
        network = bundle.network.to(place)
        return cls(bundle.config, network, bundle.training, name, engine=engine, precision=precision, threads=threads)

    def to(self, device: str | torch.device) -> Vocoder:
        """Move the model to another device, in place as torch's modules do, and return it.

        Streams that have begun stay with the network, and cannot be gone on with: begin them afterwards.

        Args:
            device: The device to infer on from now on, for example `cuda`.

        Raises:
            ValueError: There is no such device.
        """
        self.network.to(check_device(device))
        self._made_engine = None  # which holds the weights where they were
        return self

    def __repr__(self) -> str:
        config, parameters = self.config.network, sum(weight.numel() for weight in self.network.parameters())
        facts = (
            f"{self.sample_rate} Hz",
            f"hop {self.hop_length}",
            f"{self.mel.n_mels} mels",
            f"{parameters / 1e6:.2f} M parameters",
            str(self._device),
            config.distribution.name.replace("_", " "),
            f"{config.samples_per_step} sample{'s' * (config.samples_per_step > 1)} per step",
            *([f"{config.num_speakers} voices"] if config.num_speakers else []),
        )
        return f"Vocoder({self.name + ': ' if self.name else ''}{', '.join(facts)})"

    def save_pretrained(self, folder: ModelName) -> None:
        """Write the model as a bundle, for `from_pretrained` or the hub; see `save_bundle`."""
        save_bundle(folder, *self._bundle)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Publish the model on the Hugging Face Hub, with a card; see `vocoder.bundles.hub.push`."""
        return push(self._bundle, repo_id, **options)

    @property
    def _bundle(self) -> Bundle:
        return Bundle(self.config, self.network, self.training)

    @property
    def mel(self) -> MelConfig:
        """The dialect of the mels that `infer` takes."""
        return self.config.mel

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names of the model's voices, in the order of their indices; empty if they have none."""
        return self.config.speakers

    @property
    def sample_rate(self) -> int:
        """The sample rate of the waveform, in Hz."""
        return self.config.mel.sample_rate

    @property
    def hop_length(self) -> int:
        """The number of samples per mel frame."""
        return self.config.mel.hop_length

    @property
    def latency(self) -> float:
        """The seconds by which a stream's samples lag their frames: the look-ahead of the network and of corrections.

        `stream(correction_passes=0)` lags by the former alone.
        """
        ahead = self.config.network.margin_frames * self.hop_length
        return (ahead + correction_latency(self.mel, self.config.sampling.correction_passes)) / self.sample_rate

    def fits(self, dialect: str | MelConfig, stats: Stats | None = None) -> Fit:
        """Say what this model can do with mels of another dialect; true if `infer` takes them as they are.

        Args:
            dialect: The name of one of `vocoder.dialects`, or a config that says what the mel means.
            stats: The mean and scale by which the mels are normalised; see `vocoder.features.statistics`.

        Returns:
            A `Fit`: printed, it says what differs and what becomes of it; its `delay` is the number of samples by
            which the waveform lags.
        """
        return compare(dialect if stats is None else resolve_dialect(dialect, stats), self.mel)

    def infer(
        self,
        mel: Tensor | np.ndarray,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        voiced_temperature: float | None = None,
        correction_passes: int | None = None,
        speaker: int | str | Sequence[int | str] | Tensor | None = None,
        utterance: int | Sequence[int] = 0,
        fold: bool = False,
        dialect: str | MelConfig | None = None,
        stats: Stats | None = None,
        approximate: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Turn mels into waveforms.

        The result is a function of the arguments: the same on every call, and for each utterance whatever the batch.
        Row b of a batch equals `infer(mel[b], utterance=utterance + b)` bit for bit (`utterance[b]`, of one for each).

        Args:
            mel: The mel (n_mels, frames), or (batch, n_mels, frames) for utterances of equal length; axes as the
                dialect says.
            seed: The seed of the noise, from 0 to 2**64 - 1.
            temperature: The factor on the spread of each sample's law; positive. 1 samples the model, less is duller.
            voiced_temperature: Another factor on it where the mel is voiced, above 0 and at most 1. Below 1 a voice is
                less hoarse, and the samples are no longer the network's own law, which 1 gives back. None for what the
                model declares (`config.sampling`).
            correction_passes: The number of passes that bring the waveform's mel nearer to this one; see
                `vocoder.inference.correction`. 0 leaves the samples as they were drawn. None for what the model
                declares.
            speaker: The voice by its name (`speakers`) or index, one for all or one for each utterance; for models of
                several voices only.
            utterance: The index of the (first) utterance, or one for each, which with the seed makes its noise: number
                the parts of a text so that they do not all get the same.
            fold: Whether to cut what is long into pieces of a second or more, generate them side by side and join them:
                faster, another waveform as another seed gives, and the joins are there to be looked for. Below two
                seconds it changes nothing. See `vocoder.inference.folding`.
            dialect: The dialect of the mel, if not `self.mel`: a name in `vocoder.dialects`, or all its numbers.
                It is converted; `fits` says in advance how well, and by how many samples the waveform then lags.
            stats: The mean and scale by which the mel is normalised, or their file; see `vocoder.features.statistics`.
            approximate: Whether to take also a dialect that can only be converted approximately; frames that are not as
                far apart as the model's are interpolated in time.
            progress: A function that is called now and then with the number of samples made since the last call.

        Returns:
            The waveform (time,), or (batch, time) for a batch: float32 in [-1, 1] at `sample_rate` Hz on the model's
            device; time = frames · hop_length. Where the dialect's frames are farther apart or closer together than the
            model's, frames are as many of the model's as last equally long, the nearest number.

        Raises:
            TypeError: An argument is of a wrong kind.
            ValueError: An argument breaks a rule; the message says which, and what to do.

        Warns:
            DialectWarning: The mel looks like another dialect's.
        """
        fold = check_fold(fold)
        source = self._source(dialect, stats)
        pipeline = self._pipeline(source, approximate, seed, temperature, voiced_temperature, correction_passes)
        mels = check_mel(mel, source)
        check_values(mels, source)
        warn_of_other_dialects(mels, source)
        utterances = self._number(mels.split(1), speaker, utterance)
        waveforms = pipeline.run(utterances, fold=fold, progress=progress)
        return torch.stack(waveforms) if mel.ndim == 3 else waveforms[0]

    def __call__(self, mel: Tensor | np.ndarray, **options: Any) -> Tensor:
        """Do what `infer` does."""
        return self.infer(mel, **options)

    def infer_many(
        self,
        mels: Iterable[Tensor | np.ndarray],
        *,
        seed: int = 0,
        temperature: float = 1.0,
        voiced_temperature: float | None = None,
        correction_passes: int | None = None,
        speaker: int | str | Sequence[int | str] | None = None,
        utterance: int | Sequence[int] = 0,
        dialect: str | MelConfig | None = None,
        stats: Stats | None = None,
        approximate: bool = False,
        progress: Callable[[int], None] | None = None,
        finished: Callable[[int, Tensor], None] | None = None,
    ) -> list[Tensor]:
        """Turn mels of any lengths into waveforms, as many side by side as make best use of the machine.

        Waveform i equals `infer(mels[i], utterance=utterance + i)` bit for bit (`utterance[i]`, of one for each); only
        the samples per second differ.

        Args:
            mels: The mels, each (n_mels, frames) or (1, n_mels, frames), axes as the dialect says.
            seed: The seed of the noise; see `infer`.
            temperature: The factor on the spread of each sample's law; see `infer`.
            voiced_temperature: Another factor on the spread where the mel is voiced; see `infer`.
            correction_passes: The number of passes that correct the waveform's mel; see `infer`.
            speaker: The voice by its name (`speakers`) or index, one for all or one for each utterance; for models of
                several voices only.
            utterance: The index of the first utterance, or one for each, for the noise; see `infer`.
            dialect: The dialect of all mels; see `infer`.
            stats: The mean and scale by which the mels are normalised; see `infer`.
            approximate: Whether to take also a dialect that can only be converted approximately; see `infer`.
            progress: A function that is told of progress; see `infer`.
            finished: A function that is called with the place in the list and the waveform of each utterance as it
                ends; short ones may overtake.

        Returns:
            One (time,) for each mel, in their order.

        Raises:
            TypeError: As `infer`; the message says which utterance.
            ValueError: As `infer`; the message says which utterance.
        """
        source = self._source(dialect, stats)
        pipeline = self._pipeline(source, approximate, seed, temperature, voiced_temperature, correction_passes)
        checked = [check_utterance(index, mel, source) for index, mel in enumerate(mels)]
        utterances = self._number(checked, speaker, utterance)
        any(warn_of_other_dialects(mel, source) for mel in checked)  # of the first that is doubtful
        return pipeline.run(utterances, progress=progress, finished=finished)

    def stream(
        self,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        voiced_temperature: float | None = None,
        correction_passes: int | None = None,
        speaker: int | str | None = None,
        utterance: int = 0,
        dialect: str | MelConfig | None = None,
        stats: Stats | None = None,
        approximate: bool = False,
    ) -> Stream:
        """Begin an utterance whose mel comes in chunks.

        What the stream gives, put together, is what `infer` with the same arguments gives of the whole mel, bit for bit
        and for any chunks. It lags by `latency`, where the frames' period is the model's, or by what the stream's own
        `latency` says, and needs the same memory after an hour as after a second.

        Args:
            seed: The seed of the noise; see `infer`.
            temperature: The factor on the spread of each sample's law; see `infer`.
            voiced_temperature: Another factor on the spread where the mel is voiced; see `infer`.
            correction_passes: The number of passes that correct the waveform's mel; see `infer`.
            speaker: The voice by its name or index; see `infer`.
            utterance: The index of the utterance, for the noise; see `infer`.
            dialect: The dialect of the mels; see `infer`.
            stats: The mean and scale by which the mels are normalised; see `infer`.
            approximate: Whether to take also a dialect that can only be converted approximately; see `infer`.

        Raises:
            TypeError: As `infer`.
            ValueError: As `infer`.

        Example:
            >>> stream = vocoder.stream(seed=1)  # doctest: +SKIP
            >>> for mel in acoustic_model:  # doctest: +SKIP
            ...     play(stream.push(mel))
            >>> play(stream.flush())  # doctest: +SKIP
        """
        source = self._source(dialect, stats)
        pipeline = self._pipeline(source, approximate, seed, temperature, voiced_temperature, correction_passes)
        return Stream(pipeline, check_key("utterance", utterance), check_speaker(speaker, self.config, 1))

    def _source(self, dialect: str | MelConfig | None, stats: Stats | None) -> MelConfig:
        """Say what the mels of a call mean."""
        return resolve_dialect(self.mel if dialect is None else dialect, stats)

    def _pipeline(
        self,
        source: MelConfig,
        approximate: bool,
        seed: int,
        temperature: float,
        voiced_temperature: float | None,
        correction_passes: int | None,
    ) -> Pipeline:
        """Check the options that all utterances of a call have in common."""
        return Pipeline(
            self.config,
            Sampler(self._engine, check_key("seed", seed), check_temperature(temperature)),
            source,
            None if source == self.mel else _make_converter(source, self.mel, approximate),
            check_voiced_temperature(voiced_temperature, self.config),
            check_passes(correction_passes, self.config),
        )

    def _number(
        self,
        mels: Sequence[Tensor],
        speaker: int | str | Sequence[int | str] | Tensor | None,
        utterance: int | Sequence[int],
    ) -> list[Utterance]:
        """Give each mel (1, bands, frames) the number and the voice of its utterance."""
        if not mels:
            return []
        voices = check_speaker(speaker, self.config, len(mels))
        each = [None] * len(mels) if voices is None else voices.split(1)
        return [Utterance(*one) for one in zip(mels, check_numbers(utterance, len(mels)), each, strict=True)]

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def _engine(self) -> Engine:
        """The engine, made when it is first needed."""
        if self._made_engine is None:
            self._made_engine = self._make_engine(self.network)
        return self._made_engine

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made_engine": None}  # made again where the copy is: it holds memory outside Python


def infer(mel: Tensor | np.ndarray, model: Vocoder | ModelName = DEFAULT_MODEL, **options: Any) -> Tensor:
    """Turn mels into waveforms in one call; models are kept in memory for the next.

    Args:
        mel: The mel; see `Vocoder.infer`.
        model: A `Vocoder`, or what `Vocoder.from_pretrained` takes.
        options: The options of `Vocoder.infer`.

    Returns:
        The waveform; see `Vocoder.infer`.
    """
    vocoder = model if isinstance(model, Vocoder) else _cached(os.fspath(model), stamp(model))
    return vocoder.infer(mel, **options)


@lru_cache(maxsize=4)
def _cached(model: str, stamp: tuple[str, int] | None) -> Vocoder:
    return Vocoder.from_pretrained(model)
