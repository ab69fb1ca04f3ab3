"""What libsndfile lacks is read through ffmpeg, as what it reads; without ffmpeg it is named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder.data import decoded
from vocoder.data.corpora import CorpusError, Length, Utterance, check_corpus, check_file
from vocoder.data.decoded import decoded_folder, open_recording
from vocoder.data.inspection import Recording, inspect_recording
from vocoder.data.reading import read_stretch
from vocoder.features.audio import load_audio
from vocoder.features.decoding import DecodingError, decode

RATE = 22_050
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return decoded_folder()


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Two channels of tones that swell, at 44.1 kHz: as wav."""
    time = np.arange(44_100) / 44_100
    left = 0.4 * np.sin(2 * np.pi * 300 * time) * np.sin(2 * np.pi * 2 * time) ** 2
    soundfile.write(tmp_path / "speech.wav", np.stack([left, 0.5 * left], axis=1), 44_100)
    return tmp_path / "speech.wav"


def encode(source: Path, suffix: str, *codec: str) -> Path:
    target = source.with_suffix(suffix)
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", source, *codec, target], check=True)
    return target


# AAC and Opus lose what is inaudible, WavPack and ALAC nothing.
@needs_ffmpeg
@pytest.mark.parametrize(
    ("suffix", "codec", "tolerance"),
    [
        (".m4a", ("-c:a", "aac"), 0.02),
        (".webm", ("-c:a", "libopus"), 0.02),
        (".m4a", ("-c:a", "alac"), 1e-4),
        (".wv", ("-c:a", "wavpack"), 1e-4),
    ],
)
def test_what_ffmpeg_decodes_is_what_was_encoded(speech, suffix, codec, tolerance):
    given, read = load_audio(speech, RATE), load_audio(encode(speech, suffix, *codec), RATE)
    assert abs(len(read) - len(given)) <= 1024  # a block of AAC
    common = min(len(given), len(read))
    np.testing.assert_allclose(read[:common], given[:common], atol=tolerance)


@needs_ffmpeg
def test_a_file_is_decoded_whatever_its_name_means_to_ffmpeg(speech, tmp_path):
    coded = encode(speech, ".m4a")
    for name in ("-i http:x 'y'.m4a", "concat:a|b.wav", "%03d.m4a"):
        (tmp_path / name).write_bytes(coded.read_bytes())
        np.testing.assert_array_equal(load_audio(tmp_path / name, RATE), load_audio(coded, RATE))


@needs_ffmpeg
def test_a_corpus_reads_stretches_of_it_as_of_any_recording(speech):
    coded = encode(speech, ".m4a")
    length = check_file(coded, RATE)
    assert isinstance(length, Length)
    assert length.rate == 44_100
    whole = load_audio(coded, RATE)
    assert length.samples == len(whole)
    level = 2**-15  # copies have 16 bits
    np.testing.assert_allclose(read_stretch(coded, 5000, 6000, RATE), whole[5000:6000], atol=level)
    looked_at = inspect_recording(coded)
    assert isinstance(looked_at, Recording)
    assert (looked_at.channels, looked_at.sample_rate) == (2, 44_100)


@needs_ffmpeg
def test_a_recording_is_decoded_once_and_again_when_it_has_changed(speech, cache, monkeypatch):
    coded = encode(speech, ".m4a")
    open_recording(coded).close()
    with monkeypatch.context() as patch:
        patch.setattr(decoded, "decode", lambda *_: pytest.fail("decoded again"))
        open_recording(coded).close()
    soundfile.write(speech, np.zeros((8000, 1)), 8000)
    coded.unlink()
    with open_recording(encode(speech, ".m4a")) as file:
        assert file.samplerate == 8000
    assert len(list(cache.iterdir())) == 2


@needs_ffmpeg
def test_what_ffmpeg_cannot_decode_is_named_with_its_reason_and_leaves_nothing(speech, cache, tmp_path):
    cut = tmp_path / "cut.m4a"
    cut.write_bytes(encode(speech, ".m4a").read_bytes()[:3000])  # its index stands at the end
    with pytest.raises(ValueError, match=r"cut\.m4a is MPEG-4 .*, but ffmpeg cannot decode it: .*Is it damaged\?"):
        load_audio(cut, RATE)
    assert "but ffmpeg cannot decode it" in str(check_file(cut, RATE))
    assert "but ffmpeg cannot decode it" in str(inspect_recording(cut))
    assert list(cache.iterdir()) == []


def test_without_ffmpeg_a_corpus_says_which_files_need_it(tmp_path, monkeypatch):
    monkeypatch.setattr("vocoder.features.decoding.PROGRAM", "no-ffmpeg-here")
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(DecodingError, match=r"^is MPEG-4, .* ffmpeg, which does, is not installed\. Install it"):
        decode(path, "MPEG-4").__enter__()
    with pytest.raises(CorpusError, match=r"a\.m4a: is MPEG-4 .*\n?.*ffmpeg, which does, is not installed"):
        check_corpus([Utterance("a", path)], RATE)
