from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from conftest import tiny_mel_config
from reference import log_mel
from vocoder.config import MelConfig
from vocoder.features.audio import load_audio, resample, save_audio, to_levels
from vocoder.features.filterbank import hz_to_mel, mel_filterbank, mel_to_hz
from vocoder.features.mel import LogMelSpectrogram, pre_emphasis

SAMPLE_RATE = 22_050
LEVEL = 1 / 32_768  # one step of 16-bit audio


def speech_like(seconds: float = 0.5, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float64]:
    """A gliding pulse train through two formants, with breath and a pause: the dynamics of speech without a corpus."""
    rng = np.random.default_rng(0)
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    phase = np.cumsum(120 + 40 * np.sin(2 * np.pi * 2 * time)) / sample_rate
    source = np.diff(np.floor(phase), prepend=0.0) + 0.01 * rng.standard_normal(len(time))
    for frequency, bandwidth in ((700.0, 80.0), (1800.0, 150.0)):
        radius = math.exp(-math.pi * bandwidth / sample_rate)
        a = [1.0, -2 * radius * math.cos(2 * math.pi * frequency / sample_rate), radius**2]
        source = scipy.signal.lfilter([1 - radius], a, source)
    source = source * np.clip(np.sin(2 * np.pi * 3 * time) + 0.5, 0.0, None)
    return 0.7 * source / np.abs(source).max()


def mel_of(waveform: NDArray[np.float64] | Tensor, config: MelConfig, *, padded: bool = False) -> Tensor:
    return LogMelSpectrogram(config)(torch.as_tensor(waveform).float()[None], padded=padded)[0]


# --- the filterbank


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("mel_norm", ["slaney", "none"])
@pytest.mark.parametrize(
    ("sample_rate", "n_fft", "n_mels", "f_min", "f_max"),
    [
        (22_050, 1024, 80, 0.0, 8000.0),
        (24_000, 1024, 100, 0.0, 12_000.0),
        (16_000, 512, 40, 125.0, 7600.0),
        (44_100, 2048, 128, 40.0, 16_000.0),
    ],
)
def test_the_filterbank_is_librosas_and_torchaudios(
    sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float, mel_scale: Any, mel_norm: Any
) -> None:
    config = MelConfig(
        sample_rate=sample_rate,
        n_fft=n_fft,
        win_length=n_fft,
        n_mels=n_mels,
        f_min=f_min,
        f_max=f_max,
        mel_scale=mel_scale,
        mel_norm=mel_norm,
    )
    ours = mel_filterbank(config)
    norm = "slaney" if mel_norm == "slaney" else None
    theirs = librosa.filters.mel(
        sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max, htk=mel_scale == "htk", norm=norm,
        dtype=np.float64,
    )  # fmt: skip
    np.testing.assert_allclose(ours.numpy().T, theirs, rtol=0, atol=1e-6)
    fbanks = torchaudio.functional.melscale_fbanks(n_fft // 2 + 1, f_min, f_max, n_mels, sample_rate, norm, mel_scale)
    # torchaudio computes the edges in float32: 1e-7 of an edge in Hz is 1e-5 of a filter of unit height.
    torch.testing.assert_close(ours.float(), fbanks, rtol=0, atol=2e-5 if norm is None else 1e-6)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_and_hz_are_inverse(scale: str) -> None:
    hz = torch.linspace(0, 22_050, 1000, dtype=torch.float64)
    torch.testing.assert_close(mel_to_hz(hz_to_mel(hz, scale), scale), hz, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_one_thousand_hertz_is_where_the_scale_says(scale: str) -> None:
    # Auditory Toolbox: 15 linear steps of 66.67 Hz. O'Shaughnessy: 2595 log10(1 + 1000 / 700) = 999.99.
    mel = hz_to_mel(torch.tensor(1000.0, dtype=torch.float64), scale).item()
    assert mel == pytest.approx(15.0 if scale == "slaney" else 999.9855, abs=1e-3)


# --- waveform to mel

VARIANTS = {
    "hifi_gan": {},
    "centered": {"framing": "centered"},
    "short window": {"win_length": 800, "hop_length": 200},
    "symmetric window": {"window": "hann_symmetric"},
    "sine window": {"window": "sine"},
    "zeros beyond the ends": {"edges": "zero"},
    "centered, zeros beyond the ends": {"edges": "zero", "framing": "centered", "pre_emphasis": 0.97},
    "frames first": {"layout": "frames_first", "n_mels": 40, "shift": tuple(range(40))},
    "filters for another rate": {"filterbank_sample_rate": 16_000, "f_max": 6000.0},
    "power floor": {"power_floor": 1e-2},
    "htk, no norm": {"mel_scale": "htk", "mel_norm": "none"},
    "power": {"power": 2.0, "floor": 1e-10},
    "root of magnitude": {"power": 0.5},
    "no epsilon": {"power_epsilon": 0.0},
    "log10": {"log": "log10"},
    "decibels in 0 to 1": {"log": "db", "shift": -100.0, "scale": 120.0, "clip": (0.0, 1.0)},
    "guard added": {"guard": "add", "floor": 1e-4},
    "per band": {"shift": tuple(range(-80, 0)), "scale": tuple(1 + 0.1 * band for band in range(80))},
    "pre-emphasis": {"pre_emphasis": 0.97},
    "narrow": {"f_min": 80.0, "f_max": 7600.0, "n_mels": 40},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_mel_equals_an_independent_one(changes: dict[str, Any]) -> None:
    config = MelConfig(**changes)
    waveform = speech_like().astype(np.float32)
    # The result is rounded to float32: 1e-5 nat of magnitude, in the dialect's own units.
    tolerance = 1e-5 * config.power * max(1.0, config.log_factor) / np.min(config.scale)
    np.testing.assert_allclose(mel_of(waveform, config), log_mel(waveform, config), rtol=0, atol=tolerance)


def test_the_mel_of_real_speech_equals_an_independent_one() -> None:
    if "VOCODER_SPEECH" not in os.environ:
        pytest.skip("VOCODER_SPEECH names no folder of speech")
    files = sorted(Path(os.environ["VOCODER_SPEECH"]).glob("kathleen/wavs/*.flac"))[:3]
    assert files
    for file in files:
        waveform = load_audio(file, SAMPLE_RATE)[: 2 * SAMPLE_RATE]
        np.testing.assert_allclose(
            mel_of(waveform, MelConfig()), log_mel(waveform.numpy(), MelConfig()), rtol=0, atol=1e-4
        )


def test_twice_as_loud_is_ln_2_more_above_the_floor() -> None:
    config = MelConfig(power_epsilon=0.0)
    quiet, loud = mel_of(0.3 * speech_like(), config), mel_of(0.6 * speech_like(), config)
    above = quiet > config.log_floor + 1e-3
    assert above.float().mean() > 0.5
    torch.testing.assert_close((loud - quiet)[above], torch.full_like(quiet[above], math.log(2)), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"guard": "add"},
        {"log": "db"},
        {"framing": "centered"},
        {"pre_emphasis": 0.97},
        {"shift": -5.0, "scale": 2.0},
    ],
)
def test_silence_hits_the_floor(changes: dict[str, Any]) -> None:
    config = MelConfig(power_epsilon=0.0, **changes)
    expected = (config.log_floor - float(np.mean(config.shift))) / float(np.mean(config.scale))
    mel = mel_of(torch.zeros(4096), config)
    torch.testing.assert_close(mel, torch.full_like(mel, expected), rtol=0, atol=1e-5)
    assert mel.min() == mel.max()


def test_the_epsilon_of_the_default_dialect_stays_below_its_floor() -> None:
    # HiFi-GAN: sqrt(1e-9) times the filter's area, 1 / 21.5 Hz, is 1.5e-6, under the floor of 1e-5.
    assert torch.unique(mel_of(torch.zeros(4096), MelConfig())).numel() == 1


@pytest.mark.parametrize("hop_length", [200, 256])
@pytest.mark.parametrize("time", [2048, 2049, 5000])
def test_frames_follow_the_framing(time: int, hop_length: int) -> None:
    half_hop = MelConfig(hop_length=hop_length)
    assert mel_of(torch.zeros(time), half_hop).shape == (80, time // hop_length)
    centered = MelConfig(hop_length=hop_length, framing="centered")
    assert mel_of(torch.zeros(time), centered).shape == (80, 1 + time // hop_length)


@pytest.mark.parametrize(("framing", "centre"), [("half_hop", 0.5), ("centered", 0.0)])
def test_a_click_is_loudest_in_the_frame_centred_on_it(framing: Any, centre: float) -> None:
    config = MelConfig(framing=framing)
    waveform = torch.zeros(16 * 256)
    waveform[int((6 + centre) * 256)] = 1.0  # the centre of frame 6
    assert mel_of(waveform, config).mean(dim=0).argmax() == 6


@pytest.mark.parametrize("changes", [{}, {"framing": "centered"}, {"pre_emphasis": 0.97}, {"hop_length": 225}])
def test_a_slice_with_its_surroundings_gives_the_same_frames(changes: dict[str, Any]) -> None:
    config = MelConfig(**changes)
    waveform = torch.as_tensor(speech_like()).float()
    whole = mel_of(waveform, config)
    left, right = LogMelSpectrogram(config).padding
    centered = config.framing == "centered"
    first, frames = 8, 12
    start, stop = first * config.hop_length, (first + frames - centered) * config.hop_length
    part = mel_of(waveform[start - left : stop + right], config, padded=True)
    torch.testing.assert_close(part, whole[:, first : first + frames], rtol=0, atol=1e-5)


def test_a_layout_is_only_another_order_of_the_axes() -> None:
    waveform = torch.as_tensor(speech_like()).float()
    frames_first = mel_of(waveform, MelConfig(layout="frames_first"))
    assert frames_first.is_contiguous()
    assert torch.equal(frames_first, mel_of(waveform, MelConfig()).T)


@pytest.mark.parametrize("framing", ["half_hop", "centered"])
def test_the_ends_only_matter_to_the_frames_that_reach_beyond_them(framing: Any) -> None:
    waveform = torch.as_tensor(speech_like()).float()
    reflected = mel_of(waveform, MelConfig(framing=framing))
    silent = mel_of(waveform, MelConfig(framing=framing, edges="zero"))
    assert torch.equal(silent[:, 2:-2], reflected[:, 2:-2])
    assert not torch.equal(silent[:, :2], reflected[:, :2])


def test_zeros_go_before_and_after_the_shortest_waveform() -> None:
    # One frame of half-hop framing takes a hop; a centred one, n_fft / 2 of padding on either side, nothing.
    assert mel_of(torch.rand(256), MelConfig(edges="zero")).shape == (80, 1)
    assert mel_of(torch.rand(1), MelConfig(edges="zero", framing="centered")).shape == (80, 1)
    with pytest.raises(ValueError, match="n_fft 1024 needs at least 256 samples, but the waveform has 255"):
        mel_of(torch.rand(255), MelConfig(edges="zero"))


@pytest.mark.parametrize(("framing", "shortest"), [("half_hop", 385), ("centered", 513)])
def test_a_waveform_too_short_to_be_reflected_is_refused(framing: Any, shortest: int) -> None:
    # Reflection needs one sample more than the padding: (1024 - 256) / 2, or 1024 / 2.
    spectrogram = LogMelSpectrogram(MelConfig(framing=framing))
    with pytest.raises(ValueError, match=f"n_fft 1024 needs at least {shortest} samples, but the waveform has 300"):
        spectrogram(torch.zeros(1, 300))
    assert spectrogram(torch.zeros(1, shortest)).isfinite().all()


def test_the_mel_is_float32_whatever_autocast_says() -> None:
    waveform = torch.as_tensor(speech_like())[None]
    spectrogram = LogMelSpectrogram(MelConfig())
    expected = spectrogram(waveform.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(spectrogram(waveform.float()), expected)
    assert spectrogram(waveform).dtype == torch.float32


def test_a_batch_is_its_utterances() -> None:
    waveform = torch.as_tensor(speech_like()).float()
    both = LogMelSpectrogram(MelConfig())(torch.stack([waveform, waveform.flip(0)]))
    for row, alone in zip(both, (waveform, waveform.flip(0)), strict=True):
        torch.testing.assert_close(row, mel_of(alone, MelConfig()), rtol=0, atol=1e-5)


def test_the_module_brings_no_weights_into_a_checkpoint() -> None:
    assert not LogMelSpectrogram(tiny_mel_config()).state_dict()


# --- audio files


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_lossless_formats_keep_every_level(tmp_path: Path, suffix: str) -> None:
    levels = torch.cat([torch.tensor([-32_768, -1, 0, 1, 32_767]), torch.randint(-32_768, 32_768, (1000,))])
    save_audio(tmp_path / f"a.{suffix}", levels * LEVEL, SAMPLE_RATE)
    assert torch.equal(load_audio(tmp_path / f"a.{suffix}", SAMPLE_RATE), levels * LEVEL)


@pytest.mark.parametrize(("suffix", "bits", "step"), [
    ("wav", 16, 2**-15), ("wav", 24, 2**-23), ("flac", 24, 2**-23), ("wav", "float", 0.0),
])  # fmt: skip
def test_a_sample_has_as_many_bits_as_asked_for(tmp_path: Path, suffix: str, bits: Any, step: float) -> None:
    waveform = 0.9 * torch.rand(1000) - 0.45
    save_audio(tmp_path / f"a.{suffix}", waveform.numpy(), SAMPLE_RATE, bits)
    back = load_audio(tmp_path / f"a.{suffix}", SAMPLE_RATE)
    torch.testing.assert_close(back, waveform, rtol=0, atol=step / 2)
    assert soundfile.info(tmp_path / f"a.{suffix}").subtype == ("FLOAT" if bits == "float" else f"PCM_{bits}")


@pytest.mark.parametrize(
    ("name", "bits", "message"),
    [
        ("a.flac", "float", "flac has 16 or 24 bits, but float was asked for"),
        ("a.ogg", 24, "ogg is compressed with loss and has no bits to choose, but 24 was asked for"),
        ("a.wav", 12, "wav has 16, 24 or float bits, but 12"),
        ("a.mp3", None, "written as wav, flac, ogg, but not as mp3"),
        ("a", None, "not as a file without a suffix"),
    ],
)
def test_what_no_format_has_is_refused_by_name(tmp_path: Path, name: str, bits: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_audio(tmp_path / name, torch.zeros(10), SAMPLE_RATE, bits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("waveform", "error", "message"),
    [
        (torch.zeros(2, 10), ValueError, r"must have shape \(time,\), but has \(2, 10\)"),
        ([0.0], TypeError, "tensor or a NumPy array, but is a list"),
        (np.zeros(10, np.int16), TypeError, r"floating-point numbers in \[-1, 1\], but holds torch.int16"),
        (torch.tensor([0.0, math.nan]), ValueError, "must be finite"),
    ],
    ids=["batch", "list", "levels", "nan"],
)
def test_what_is_no_waveform_is_not_written(
    tmp_path: Path, waveform: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        save_audio(tmp_path / "a.wav", waveform, SAMPLE_RATE)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere\. Make it first"):
        save_audio(tmp_path / "nowhere" / "a.wav", torch.zeros(10), SAMPLE_RATE)


def test_ogg_comes_back_alike(tmp_path: Path) -> None:
    waveform = torch.as_tensor(speech_like()).float()
    save_audio(tmp_path / "a.ogg", waveform, SAMPLE_RATE)
    back = load_audio(tmp_path / "a.ogg", SAMPLE_RATE)
    assert back.shape == waveform.shape
    noise = (back - waveform).square().mean() / waveform.square().mean()
    assert 10 * math.log10(noise) < -10  # lossy: the waveform stays recognisable


def test_what_lies_beyond_full_scale_is_clipped(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", torch.tensor([1.5, -1.5, 1.0]), SAMPLE_RATE)
    assert load_audio(tmp_path / "a.wav", SAMPLE_RATE).tolist() == [1 - LEVEL, -1.0, 1 - LEVEL]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_audio(tmp_path / "a.wav", torch.zeros(10), SAMPLE_RATE)
    before = (tmp_path / "a.wav").read_bytes()

    monkeypatch.setattr("vocoder.features.audio.WRITTEN_SAMPLES", 4)
    write = soundfile.SoundFile.write

    def fail_later(file: soundfile.SoundFile, samples: NDArray[np.int16]) -> None:
        if file.tell() >= 8:
            raise OSError("disk full")
        write(file, samples)

    monkeypatch.setattr(soundfile.SoundFile, "write", fail_later)
    with pytest.raises(OSError, match="disk full"):
        save_audio(tmp_path / "a.wav", torch.ones(10), SAMPLE_RATE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / f".a.{os.getpid()}.part.wav").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"a.wav cannot be written: .* Is there space on the disk\?"):
        save_audio(tmp_path / "a.wav", torch.ones(10), SAMPLE_RATE)


def test_pieces_are_written_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocoder.features.audio.WRITTEN_SAMPLES", 4)
    waveform = torch.linspace(-1, 1, 11)
    save_audio(tmp_path / "a.wav", waveform, SAMPLE_RATE)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav", dtype="int16")[0], to_levels(waveform))


def test_stereo_is_mixed_down_to_its_mean(tmp_path: Path) -> None:
    left, right = np.full(100, 0.5), np.full(100, -0.25)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), SAMPLE_RATE, subtype="FLOAT")
    waveform = load_audio(tmp_path / "a.wav", SAMPLE_RATE)
    assert waveform.dtype == torch.float32
    assert torch.equal(waveform, torch.full((100,), 0.125))


def test_a_file_is_resampled_to_the_wanted_rate(tmp_path: Path) -> None:
    save_audio(tmp_path / "a.wav", 0.5 * torch.sin(torch.arange(8000) * 0.3), 8000)
    waveform = load_audio(tmp_path / "a.wav", 16_000)
    assert waveform.shape == (16_000,)
    original = load_audio(tmp_path / "a.wav", 8000)
    torch.testing.assert_close(waveform[1000:-1000:2], original[500:-500], rtol=0, atol=1e-3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is none at .*missing\.wav"):
        load_audio(tmp_path / "missing.wav", SAMPLE_RATE)
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        load_audio(tmp_path, SAMPLE_RATE)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "MPEG-4"),
        (b"\x1aE\xdf\xa3\x9fB\x86", "Matroska"),
        (b"0&\xb2u\x8ef\xcf\x11\xa6", "Windows Media"),
        (b"\xff\xf1P\x80", "AAC"),
        (b"#!AMR\n", "AMR"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("suffix", ["m4a", "wav"])  # whatever it is called
def test_without_ffmpeg_a_format_that_libsndfile_lacks_is_named_with_the_remedy(
    tmp_path: Path, content: bytes, kind: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vocoder.features.decoding.PROGRAM", "no-ffmpeg-here")
    (tmp_path / f"my speech.{suffix}").write_bytes(content * 20)
    with pytest.raises(ValueError, match=rf"my speech.{suffix} is {kind}.* which libsndfile does not read") as caught:
        load_audio(tmp_path / f"my speech.{suffix}", SAMPLE_RATE)
    assert "ffmpeg, which does, is not installed. Install it" in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_what_is_not_called_audio_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.raises(
        ValueError, match=r"notes.txt is no audio that libsndfile reads.*`ffmpeg -i notes.txt notes.wav`"
    ):
        load_audio(tmp_path / "notes.txt", SAMPLE_RATE)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("content", [b"", b"this is no audio", b"RIFF\0\0\0\0WAVEfmt "], ids=["empty", "text", "cut"])
def test_a_damaged_file_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"damaged.{suffix}").write_bytes(content)
    with pytest.raises(ValueError, match=rf"damaged\.{suffix} cannot be read as audio: .* Is it damaged\?"):
        load_audio(tmp_path / f"damaged.{suffix}", SAMPLE_RATE)


def test_a_flac_cut_in_half_is_named(tmp_path: Path) -> None:
    save_audio(tmp_path / "cut.flac", 0.5 * torch.rand(20_000) - 0.25, SAMPLE_RATE)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.flac"):
        load_audio(tmp_path / "cut.flac", SAMPLE_RATE)


def test_a_file_without_samples_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), SAMPLE_RATE)
    with pytest.raises(ValueError, match=r"nothing\.wav holds no samples"):
        load_audio(tmp_path / "nothing.wav", SAMPLE_RATE)


@pytest.mark.parametrize("peak", [4.01, -20_000.0, 1e30])
def test_a_file_on_another_scale_is_named_and_an_overshoot_is_none(tmp_path: Path, peak: float) -> None:
    for name, value in (("far.wav", peak), ("near.wav", math.copysign(3.99, peak))):
        soundfile.write(tmp_path / name, np.array([[0.0, 0.1], [value, 0.1]]), SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(
        ValueError, match=rf"far\.wav peaks at {abs(peak):g}, where full scale is 1".replace("+", r"\+")
    ):
        load_audio(tmp_path / "far.wav", SAMPLE_RATE)
    assert len(load_audio(tmp_path / "near.wav", SAMPLE_RATE)) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_file_with_infinite_values_is_named(tmp_path: Path, value: float) -> None:
    soundfile.write(tmp_path / "infinite.wav", np.array([0.0, value]), SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"infinite\.wav holds NaN or infinity"):
        load_audio(tmp_path / "infinite.wav", SAMPLE_RATE)


# --- resampling and emphasis


def level_db(waveform: Tensor) -> float:
    """Root mean square of the inner part, in decibels of a full-scale sine."""
    inner = waveform[len(waveform) // 4 : -len(waveform) // 4].double()
    return 10 * math.log10(float(inner.square().mean()) * 2 + 1e-30)


def tone(frequency: float, sample_rate: int) -> Tensor:
    time = torch.arange(sample_rate // 2, dtype=torch.float64) / sample_rate
    return torch.sin(2 * math.pi * frequency * time).float()


@pytest.mark.parametrize(("source", "target"), [(44_100, 22_050), (48_000, 22_050), (16_000, 22_050), (22_050, 22_050)])
def test_resampling_keeps_a_tone(source: int, target: int) -> None:
    resampled, wanted = resample(tone(1000.0, source), source, target), tone(1000.0, target)
    assert len(resampled) == math.ceil(source // 2 * target / source)
    error = (resampled[: len(wanted)] - wanted)[1000:-1000].abs().max()
    assert error < LEVEL / 2


@pytest.mark.parametrize(("source", "target"), [(44_100, 22_050), (48_000, 22_050), (22_050, 16_000)])
def test_resampling_kills_aliases(source: int, target: int) -> None:
    # A tone just above the new Nyquist frequency has no place to go: below -90 dB, the 16-bit floor.
    assert level_db(resample(tone(1.06 * target / 2, source), source, target)) < -90


@pytest.mark.parametrize(("source", "target"), [(44_100, 22_050), (48_000, 22_050), (22_050, 16_000), (16_000, 24_000)])
def test_resampling_is_scipys_below_the_slope_of_the_filters(source: int, target: int) -> None:
    """Noise up to 85 % of the lower Nyquist frequency, which both keep, is the same to two levels of 16 bits."""
    band = scipy.signal.firwin(1001, 0.85 * min(source, target) / 2, fs=source, window=("kaiser", 10))
    noise = scipy.signal.lfilter(band, 1, np.random.default_rng(0).normal(0, 0.1, source))
    exact = scipy.signal.resample(noise, target)  # by Fourier transform of the whole
    made = resample(torch.from_numpy(noise), source, target).numpy()
    np.testing.assert_allclose(made[2000:-2000], exact[2000:-2000], rtol=0, atol=2 * LEVEL)


@pytest.mark.parametrize(("source", "target"), [(22_051, 22_050), (44_101, 22_050), (22_050, 48_000), (44_100, 16_000)])
@pytest.mark.parametrize("time", [1, 2, 1001, 44_100])
def test_a_waveform_becomes_as_long_as_its_rate_says(source: int, target: int, time: int) -> None:
    batch = torch.randn(2, 3, time)
    made = resample(batch, source, target)
    assert made.shape == (2, 3, math.ceil(time * target / source))
    assert torch.equal(made[1, 2], resample(batch[1, 2], source, target))


def test_the_cost_of_resampling_does_not_grow_with_the_ratios_denominator() -> None:
    """192 001 and 22 051 have no common divisor: a table of phases would hold billions of numbers."""
    assert resample(torch.randn(192_001), 192_001, 22_051).shape == (22_051,)


def test_pre_emphasis_is_the_documented_difference() -> None:
    waveform = torch.as_tensor(speech_like(0.05))
    expected = scipy.signal.lfilter([1.0, -0.97], [1.0], waveform.numpy())
    np.testing.assert_allclose(pre_emphasis(waveform, 0.97), expected, rtol=0, atol=1e-12)
