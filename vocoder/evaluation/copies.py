"""One utterance: the recording, its copies by every system, and how far each is off."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from vocoder.data.corpora import Utterance
from vocoder.engines import create_engine
from vocoder.evaluation.baselines import CopyFolder, griffin_lim
from vocoder.evaluation.measures.all import MEASURES, compare
from vocoder.evaluation.measures.analysis import Analysis
from vocoder.evaluation.measures.likelihood import LIKELIHOOD, linear_prediction_yardstick, log_likelihood
from vocoder.evaluation.records import ORIGINAL, Measure, SystemOutput, UtteranceRecord
from vocoder.evaluation.stopwatch import Stopwatch
from vocoder.features.audio import load_audio, save_audio
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.checks import check_speaker
from vocoder.inference.conditioner import Conditioner, condition_whole
from vocoder.inference.vocoder import Vocoder

GRIFFIN_LIM = "griffin-lim"
SPEED = Measure(
    "times_real_time",
    "Speed",
    "× real time",
    "high",
    1,
    "Seconds of sound made in a second, on one thread, while the other cores are at work too.",
)
ALL_MEASURES = (*MEASURES, SPEED, *LIKELIHOOD)  # in the order in which people ask for them


@dataclass(frozen=True)
class Setting:
    """The settings by which every utterance is copied.

    Attributes:
        model: The model: a folder, .ckpt, voice or hub id.
        name: The name of the model among the systems.
        seconds: The largest number of seconds taken from the beginning of each utterance; None for all.
        seed: The seed of the noise; an utterance's own noise follows from its place in the corpus's part.
        engine: The name of the engine that generates.
        precision: The precision of the engine's matrix products.
        compare: The folders of other vocoders' copies, by name.
        output: The folder in which `audio/<system>/<id>.flac` appear.
    """

    model: str
    name: str
    seconds: float | None
    seed: int
    engine: str
    precision: str
    compare: dict[str, str]
    output: Path

    @property
    def systems(self) -> list[str]:
        """In the order in which they are shown."""
        return [ORIGINAL, self.name, GRIFFIN_LIM, *self.compare]


class CopySynthesis:
    """Copies and measures, one utterance after the other; a process has one."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        engine, precision = setting.engine, setting.precision
        self.vocoder = Vocoder.from_pretrained(setting.model, engine=engine, precision=precision, threads=1)
        # Bands first, whatever the model's layout: so are conditioning and Griffin-Lim.
        self.mel = replace(self.vocoder.mel, layout="bands_first")
        self.log_mel = LogMelSpectrogram(self.mel)
        self.engine = create_engine(engine, self.vocoder.network, precision=precision, threads=1)
        self.others = [CopyFolder(name, Path(folder)) for name, folder in setting.compare.items()]
        self.stopwatch = Stopwatch()

    def __call__(self, number: int, recording: Utterance, text: str) -> UtteranceRecord:
        """Copy and measure.

        Args:
            number: The number of the utterance, which with the seed makes its noise.
            recording: The recording to copy; it is cut down to whole frames.
            text: The text that is spoken in it.

        Raises:
            ValueError: The recording cannot be used; the message says why.
        """
        self.stopwatch, whole = Stopwatch(), Stopwatch()
        with whole("total"):
            waveform, mel = self._read(recording)
            original = Analysis(waveform, self.mel)
            systems = {
                ORIGINAL: self._keep(ORIGINAL, recording.id, original),
                self.setting.name: self._copy_by_model(number, recording, mel, original),
                GRIFFIN_LIM: self._copy_by_griffin_lim(recording.id, mel, original),
            }
            for other in self.others:
                systems[other.name] = self._copy_by_other(other, recording.id, original)
        seconds = len(waveform) / self.mel.sample_rate
        spent = {**self.stopwatch.seconds, **whole.seconds}
        return UtteranceRecord(recording.id, seconds, text, systems, spent, recording.speaker)

    def _read(self, recording: Utterance) -> tuple[Tensor, Tensor]:
        """Read the waveform (frames · hop_length,) and its mel (n_mels, frames)."""
        rate, hop_length, seconds = self.mel.sample_rate, self.mel.hop_length, self.setting.seconds
        waveform = load_audio(recording.path, rate)[: None if seconds is None else round(seconds * rate)]
        frames = len(waveform) // hop_length
        return waveform[: frames * hop_length], self.log_mel(waveform[None])[0, :, :frames]

    def _copy_by_model(self, number: int, recording: Utterance, mel: Tensor, original: Analysis) -> SystemOutput:
        speaker = recording.speaker or None
        with self.stopwatch("synthesis"):
            waveform = self.vocoder.infer(
                mel,
                seed=self.setting.seed,
                utterance=number,
                dialect=self.mel,
                speaker=speaker,
            )
        output = self._compare(self.setting.name, recording.id, original, waveform)
        with self.stopwatch("likelihood"):
            likelihood = self._likelihood(mel, original.waveform, speaker)
        output.measures = likelihood | output.measures | self._speed(waveform, "synthesis")
        return output

    def _likelihood(self, mel: Tensor, waveform: Tensor, speaker: str | None) -> dict[str, float | None]:
        voice = check_speaker(speaker, self.vocoder.config, 1)
        conditioning = condition_whole(Conditioner(self.vocoder.network, voice), mel[None])
        log_prob = log_likelihood(self.engine, conditioning, waveform, self.vocoder.config.waveform)
        nats = -float(log_prob.double().mean())
        yardstick = linear_prediction_yardstick(waveform, self.mel.sample_rate)
        return {"nll_bits": nats / math.log(2), "nll_nats": nats, "yardstick_bits": yardstick}

    def _copy_by_griffin_lim(self, id_: str, mel: Tensor, original: Analysis) -> SystemOutput:
        with self.stopwatch(GRIFFIN_LIM):
            waveform = griffin_lim(mel, self.mel)
        output = self._compare(GRIFFIN_LIM, id_, original, waveform)
        output.measures |= self._speed(waveform, GRIFFIN_LIM)
        return output

    def _copy_by_other(self, other: CopyFolder, id_: str, original: Analysis) -> SystemOutput:
        try:
            samples = len(original.waveform)
            waveform = other.load(id_, self.mel.sample_rate, samples, slack=2 * self.mel.n_fft)
        except (ValueError, OSError) as error:
            return SystemOutput(audio=None, problems={"audio": str(error)})
        return self._compare(other.name, id_, original, waveform)

    def _speed(self, waveform: Tensor, stage: str) -> dict[str, float | None]:
        return {SPEED.key: len(waveform) / self.mel.sample_rate / self.stopwatch.seconds[stage]}

    def _compare(self, system: str, id_: str, original: Analysis, waveform: Tensor) -> SystemOutput:
        copy = Analysis(waveform, self.mel)
        output = self._keep(system, id_, copy)
        output.measures, output.problems = compare(original, copy, self.stopwatch)
        return output

    def _keep(self, system: str, id_: str, analysis: Analysis) -> SystemOutput:
        """Write the audio, and begin the record with what needs no comparison."""
        with self.stopwatch("f0"):
            f0 = [None if math.isnan(hertz) else round(hertz, 2) for hertz in analysis.f0.tolist()]
        audio = f"audio/{system}/{id_}.flac"
        path = self.setting.output / audio
        path.parent.mkdir(parents=True, exist_ok=True)
        save_audio(path, analysis.waveform, self.mel.sample_rate)
        return SystemOutput(audio=audio, f0=f0, loudness=analysis.loudness)
