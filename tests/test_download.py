"""Fetching and converting a corpus."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import soundfile

from vocoder.cli import main
from vocoder.data.corpora import check_corpus
from vocoder.data.download import download_ljspeech, resample_folder
from vocoder.data.layouts import read_corpus

pytest.importorskip("torchaudio")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """An LJSpeech layout at 48 kHz, in stereo."""
    (tmp_path / "in" / "wavs").mkdir(parents=True)
    (tmp_path / "in" / "metadata.csv").write_text("a|A.|A.\nb|B.|B.\n")
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    for name in "ab":
        soundfile.write(tmp_path / "in" / "wavs" / f"{name}.wav", np.stack([tone, tone], axis=1), 48_000)
    return tmp_path / "in"


def test_a_converted_corpus_is_one_that_training_takes(recordings: Path) -> None:
    target = recordings.parent / "out"
    assert resample_folder(recordings, target, 22_050) == 2
    usable, unusable = check_corpus(read_corpus(target), 22_050)
    assert [utterance.samples for utterance in usable] == [22_050, 22_050]
    assert not unusable


def test_conversion_goes_on_where_it_stopped(recordings: Path) -> None:
    target = recordings.parent / "out"
    resample_folder(recordings, target, 22_050)
    (target / "wavs" / "a.flac").unlink()
    assert resample_folder(recordings, target, 22_050) == 1


def test_lists_are_copied_whatever_lies_beside_them(recordings: Path) -> None:
    (recordings / "notes").mkdir()
    (recordings / "notes" / "list.csv").write_text("x")
    resample_folder(recordings, recordings.parent / "out", 22_050)
    assert (recordings.parent / "out" / "notes" / "list.csv").read_text() == "x"


def test_a_folder_without_audio_is_not_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resample", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "holds no audio" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_offline_the_download_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchaudio.datasets.LJSPEECH", refuse)
    with pytest.raises(OSError, match=r"could not be fetched from data\.keithito\.com.*pass its folder with DATA="):
        download_ljspeech(tmp_path)


def test_a_corpus_half_unpacked_is_not_taken_for_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchaudio.datasets.LJSPEECH", lambda *arguments, **options: None)
    with pytest.raises(OSError, match=r"has 13100 recordings, but .* has 0.*Remove that folder"):
        download_ljspeech(tmp_path)
