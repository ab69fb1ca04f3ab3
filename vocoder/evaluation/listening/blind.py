"""A page of blind listening tests, and the key to what was heard."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from scipy.signal import ellip, sosfiltfilt
from torch import Tensor

from vocoder.evaluation.page import assemble
from vocoder.evaluation.records import ORIGINAL, Evaluation, UtteranceRecord
from vocoder.features.audio import load_audio, to_levels
from vocoder.files import write_whole

REFERENCE = "original, named"  # the recording once more, which MUSHRA names; the other one is hidden among the copies
ANCHOR = "anchor-3.5kHz"
ANCHOR_HERTZ = 3500.0
UTTERANCES = 12  # a listener's patience, and a page that can be mailed

STYLES = ("base.css", "blind.css")
SCRIPTS = ("player.js", "blind_plan.js", "blind_session.js", "blind_ratings.js", "blind_trial.js", "blind.js")


@dataclass(frozen=True)
class Stimulus:
    """One sound of the page.

    Attributes:
        code: The code under which the page knows it: 12 hexadecimal digits.
        audio: A FLAC file.
        gain: The factor by which it is as loud as the quietest version of its utterance.
    """

    code: str
    audio: bytes
    gain: float


def write_blind_test(folder: Path, evaluation: Evaluation) -> Path:
    """Write `report/blind.html`, with ABX, opinion (MOS) and MUSHRA tests, and `report/key.json`.

    The page names no system. It holds each sound under a code, in the order of the codes, and which of them are asked
    about together. The key says what the codes mean and stays with the experimenter. Writing again gives the same two
    files. Of the utterances the first that every system has a copy of are taken, or the first, if none is so complete.

    Args:
        folder: The folder of the evaluation, with the audio that it names.
        evaluation: The evaluation whose systems are compared.

    Returns:
        The page.

    Raises:
        OSError: Audio is missing, or the files cannot be written.
    """
    utterances = _choose(evaluation)
    secret = _secret(utterances)
    stimuli = [_stimuli(folder, one, evaluation.sample_rate, secret) for one in utterances]
    sounds = {one.code: one for versions in stimuli for one in versions.values()}
    test: dict[str, Any] = {
        "sampleRate": evaluation.sample_rate,
        "gains": {code: round(sounds[code].gain, 4) for code in sorted(sounds)},
        "trials": _trials(utterances, stimuli),
    }
    test["test"] = hashlib.sha256(json.dumps(test).encode()).hexdigest()[:12]
    key = {
        "test": test["test"],
        "systems": [*evaluation.systems, ANCHOR],
        "codes": {
            one.code: [utterance.id, system]
            for utterance, versions in zip(utterances, stimuli, strict=True)
            for system, one in versions.items()
        },
    }
    page = folder / "report" / "blind.html"
    data = {"test": test} | {f"audio-{code}": base64.b64encode(sounds[code].audio).decode() for code in sorted(sounds)}
    _keep_key(page.with_name("key.json"), key["test"])
    write_whole(page.with_name("key.json"), json.dumps(key, ensure_ascii=False, indent=1))
    write_whole(page, assemble("blind.html", "Listening test", STYLES, SCRIPTS, data))
    return page


def _keep_key(path: Path, test: str) -> None:
    """Put the key of another test aside: its page may be with listeners."""
    if path.is_file() and (before := json.loads(path.read_text(encoding="utf-8"))["test"]) != test:
        path.replace(path.with_name(f"key-{before}.json"))


def low_pass(waveform: Tensor, sample_rate: int) -> Tensor:
    """Make the low anchor of ITU-R BS.1534, without delay.

    It is flat to 0.1 dB up to 3.5 kHz, 25 dB less at 4 kHz, and 50 dB less at 4.5 kHz.

    Args:
        waveform: The waveform (time,).
        sample_rate: The sample rate in Hz, above 7000.

    Returns:
        The anchor (time,), in float64.
    """
    # Forwards and backwards doubles both figures: 0.08 and 52 dB.
    sections = ellip(8, 0.04, 26, ANCHOR_HERTZ, fs=sample_rate, output="sos")
    return torch.from_numpy(np.ascontiguousarray(sosfiltfilt(sections, waveform.double().numpy())))


def _choose(evaluation: Evaluation) -> list[UtteranceRecord]:
    complete = [
        one for one in evaluation.utterances if all(output.audio is not None for output in one.systems.values())
    ]
    return (complete or evaluation.utterances)[:UTTERANCES]


def _secret(utterances: list[UtteranceRecord]) -> bytes:
    """Give a secret that listeners do not have: without it, no code can be guessed from a sound and a system's name."""
    figures = [[one.loudness, one.f0] for utterance in utterances for one in utterance.systems.values()]
    return json.dumps(figures).encode()


def _stimuli(folder: Path, utterance: UtteranceRecord, sample_rate: int, secret: bytes) -> dict[str, Stimulus]:
    """By system, and by `REFERENCE` and `ANCHOR`."""
    gains = _gains(utterance)
    files = {s: (folder / one.audio).read_bytes() for s, one in utterance.systems.items() if one.audio is not None}
    recording = load_audio(folder / f"{utterance.systems[ORIGINAL].audio}", sample_rate)
    files |= {REFERENCE: files[ORIGINAL], ANCHOR: _flac(low_pass(recording, sample_rate), sample_rate)}
    stimuli = {}
    for system, audio in files.items():
        name = json.dumps([utterance.id, system]).encode()
        code = hmac.new(secret, name + audio, hashlib.sha256).hexdigest()[:12]
        # The anchor as its recording: what was taken from it is not made up for.
        stimuli[system] = Stimulus(code, audio, gains.get(system, gains[ORIGINAL]))
    return stimuli


def _gains(utterance: UtteranceRecord) -> dict[str, float]:
    """Give each system's gain: never above one, so that nothing clips; one where there is no loudness."""
    loudness = {s: one.loudness for s, one in utterance.systems.items() if one.audio is not None}
    quietest = min((value for value in loudness.values() if value is not None), default=0.0)
    return {s: 1.0 if value is None else 10 ** ((quietest - value) / 20) for s, value in loudness.items()}


def _flac(waveform: Tensor, sample_rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, to_levels(waveform), sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _trials(utterances: list[UtteranceRecord], stimuli: list[dict[str, Stimulus]]) -> dict[str, list[dict[str, Any]]]:
    """List the trials of each mode: codes that go together, sorted, so that their order tells nothing."""
    trials: dict[str, list[dict[str, Any]]] = {"abx": [], "mos": [], "mushra": []}
    for utterance, versions in zip(utterances, stimuli, strict=True):
        codes = {system: one.code for system, one in versions.items()}
        reference, anchor, original = codes.pop(REFERENCE), codes.pop(ANCHOR), codes[ORIGINAL]
        pairs = sorted(sorted((original, code)) for system, code in codes.items() if system != ORIGINAL)
        trials["abx"] += [{"utterance": utterance.id, "stimuli": pair} for pair in pairs]
        trials["mos"] += [{"utterance": utterance.id, "stimuli": [code]} for code in sorted(codes.values())]
        trials["mushra"].append(
            {"utterance": utterance.id, "reference": reference, "stimuli": sorted([*codes.values(), anchor])}
        )
    return trials
