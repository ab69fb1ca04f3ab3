"""`vocoder mel` and `convert-mel`: the mels that the package computes and converts, in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import vocoder
from vocoder.cli import main
from vocoder.features.audio import load_audio
from vocoder.features.conversion import compare, resolve_dialect
from vocoder.inference.example import RECORDINGS, UTTERANCE

RECORDING = RECORDINGS / "wavs" / f"{UTTERANCE}.flac"
MEL = RECORDINGS / f"{UTTERANCE}.npy"


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr: one message, no traceback."""
    message = capsys.readouterr().err
    assert message.startswith("vocoder: error: ")
    assert message.count("\n") == 1
    return message


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A quarter of a second of speech, alone in a folder."""
    pytest.importorskip("torchaudio")
    (tmp_path / "audio").mkdir()
    vocoder.save(tmp_path / "audio" / "a.wav", load_audio(RECORDING, 22_050)[22_050:27_562], 22_050, "float")
    return tmp_path / "audio" / "a.wav"


def test_by_default_it_is_the_mel_of_the_default_voice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchaudio")
    assert main(["mel", str(RECORDING), "-o", str(tmp_path / "new")]) == 0
    made = np.load(tmp_path / "new" / f"{UTTERANCE}.npy")
    assert made.dtype == np.float32
    # The last digit of float32, where another processor's Fourier transform rounds otherwise.
    np.testing.assert_allclose(made, np.load(MEL), rtol=0, atol=1e-5)
    assert capsys.readouterr().out == f"{tmp_path / 'new' / UTTERANCE}.npy  3.89 s  (80, 335)\n"


@pytest.mark.parametrize("dialect", ["tacotron2", "espnet"])
def test_of_a_dialect_it_is_what_the_package_computes_in_its_layout(audio: Path, tmp_path: Path, dialect: str) -> None:
    assert main(["mel", str(audio.parent), "-o", str(tmp_path), "--dialect", dialect, "--stats=-5,2"]) == 0
    mel = resolve_dialect(dialect, (-5.0, 2.0))
    expected = vocoder.LogMelSpectrogram(mel)(load_audio(audio, mel.sample_rate)[None])[0]
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "a.npy")), expected)


def test_from_the_mel_the_copy_is_the_one_from_the_audio(audio: Path, tmp_path: Path) -> None:
    assert main(["mel", str(audio), "-o", str(tmp_path)]) == 0
    assert main(["infer", str(audio), "-o", str(tmp_path / "direct.wav")]) == 0
    assert main(["infer", str(tmp_path / "a.npy"), "-o", str(tmp_path / "by-mel.wav")]) == 0
    assert (tmp_path / "direct.wav").read_bytes() == (tmp_path / "by-mel.wav").read_bytes()


def test_a_mel_is_no_audio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mel", str(MEL), "-o", str(tmp_path / "new")]) == 2
    assert "is one already. See `vocoder convert-mel`" in complaint(capsys)
    assert not (tmp_path / "new").exists()


def test_audio_is_no_mel(audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert-mel", str(audio), str(tmp_path / "b.npy"), "--from", "kathleen", "--to", "tacotron2"]) == 2
    assert "a.wav is no mel (.npy, .npz, .pt). Compute one of audio by `vocoder mel`." in complaint(capsys)


def test_a_mel_that_is_there_is_replaced_only_when_asked(
    audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.npy").write_bytes(b"precious")
    assert main(["mel", str(audio), "-o", str(tmp_path)]) == 2
    assert "a.npy. Pass --overwrite" in complaint(capsys)
    assert main(["mel", str(audio), "-o", str(tmp_path), "--overwrite"]) == 0
    assert np.load(tmp_path / "a.npy").shape == (80, 21)


@pytest.mark.parametrize(("target", "approximate"), [("tacotron2", False), ("espnet", True)])
def test_a_file_is_converted_as_the_package_converts(
    tmp_path: Path, target: str, approximate: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    normal = (np.load(MEL) + 5) / 2
    np.save(tmp_path / "a.npy", normal)
    command = ["convert-mel", str(tmp_path / "a.npy"), str(tmp_path / "new" / "b.npy"), "--from", "kathleen"]
    command += ["--to", target, "--stats=-5,2", *["--approximate"] * approximate]
    assert main(command) == 0
    expected = vocoder.convert_mel(normal, "hifigan", target, stats=(-5.0, 2.0), approximate=approximate)
    assert torch.equal(torch.from_numpy(np.load(tmp_path / "new" / "b.npy")), expected)
    out = capsys.readouterr().out
    assert str(tuple(expected.shape)) in out
    assert ("128 samples early" in out) == (compare("hifigan", target).delay == -128)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["b.npy", "--from", "kathleen", "--to", "espnet"], "approximate"),
        (["b.npy", "--from", "kathleen", "--to", "tacotron"], "is 'tacotron'"),
        (
            ["b.wav", "--from", "kathleen", "--to", "tacotron2"],
            "A mel is written as .npy, but not as b.wav. Name it b.npy.",
        ),
        (["a.npy", "--from", "kathleen", "--to", "tacotron2", "--overwrite"], "is an input"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_what_cannot_be_converted_leaves_all_as_it_was(
    tmp_path: Path,
    command: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = MEL.read_bytes()
    (tmp_path / "a.npy").write_bytes(before)
    assert main(["convert-mel", "a.npy", *command]) == 2
    assert message in complaint(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    assert (tmp_path / "a.npy").read_bytes() == before
