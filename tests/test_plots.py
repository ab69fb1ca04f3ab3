"""Pictures: what is drawn is what was given, in the units that the axes say; the same input gives the same file."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import matplotlib
import numpy as np
import pytest
import soundfile
import torch
from matplotlib.figure import Figure

from conftest import speech_like_mel, tiny_config, tiny_mel_config, tiny_network, voice
from vocoder.cli import main
from vocoder.config import MelConfig
from vocoder.features.dialects import DIALECTS
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.vocoder import Vocoder
from vocoder.plots import draw_mel, draw_mels, draw_pair, pair, save_figure
from vocoder.plots.panels import RANGE_DB, band_centres, to_decibels
from vocoder.plots.style import METADATA

MEL = tiny_mel_config()


def images(figure: Figure) -> list[np.ndarray]:
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "magic"), [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_the_suffix_names_the_format_and_the_same_mel_gives_the_same_bytes(
    tmp_path: Path, suffix: str, magic: bytes
) -> None:
    mel, files = speech_like_mel(MEL, 20)[0], []
    for name in "ab":
        with matplotlib.rc_context({"font.size": 30, "image.cmap": "jet"} if name == "b" else {}):  # a user's own
            path = tmp_path / "made" / f"{name}{suffix.upper()}"
            save_figure(draw_mel(mel, MEL), path)
        files.append(path.read_bytes())
    assert files[0].startswith(magic)
    assert files[0] == files[1]
    assert sorted(path.name for path in path.parent.iterdir()) == [f"{name}{suffix.upper()}" for name in "ab"]


def test_text_in_an_svg_is_text(tmp_path: Path) -> None:
    save_figure(draw_mel(speech_like_mel(MEL, 20)[0], MEL), tmp_path / "mel.svg")
    text = (tmp_path / "mel.svg").read_text(encoding="utf-8")
    assert ">Time (s)</text>" in text
    assert ">Level (dB)</text>" in text


def test_an_unknown_suffix_is_refused_with_the_list_of_those_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf, but its file is .*mel\.jpg"):
        save_figure(Figure(), tmp_path / "mel.jpg")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(figure: Figure, path: Path, **options: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    (tmp_path / "mel.png").write_bytes(b"before")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="full"):
        save_figure(Figure(), tmp_path / "mel.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    draw_mel(speech_like_mel(MEL, 20)[0], MEL)
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


# --- mels -------------------------------------------------------------------------------------------------------------


def test_a_mel_is_drawn_in_decibels() -> None:
    mel = speech_like_mel(MEL, 20)[0]
    np.testing.assert_allclose(images(draw_mel(mel, MEL))[0], 20 * np.log10(np.exp(mel.double().numpy())), atol=1e-9)


def test_a_band_has_the_same_level_in_every_dialect_that_has_it() -> None:
    mel = speech_like_mel(MEL, 20)[0]
    as_power = replace(MEL, power=2.0, floor=MEL.floor**2)  # a band of magnitude m is one of power m²
    scaled = replace(MEL, log="db", shift=-40.0, scale=20.0, layout="frames_first")
    expected = to_decibels(mel, MEL)
    np.testing.assert_allclose(to_decibels(2 * mel, as_power), expected, atol=1e-4)
    in_scaled = (mel * 20 / np.log(10) + 40.0) / 20.0
    np.testing.assert_allclose(to_decibels(in_scaled.T, scaled), expected, atol=1e-4)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_bands_are_centred_where_librosa_has_them_and_ticks_stand_at_their_frequency(scale: str) -> None:
    config = MelConfig(mel_scale=scale, f_min=30.0)  # type: ignore[arg-type]
    centres = librosa.mel_frequencies(82, fmin=30.0, fmax=8000.0, htk=scale == "htk")[1:-1]
    np.testing.assert_allclose(band_centres(config), centres, rtol=1e-9)
    axis = draw_mel(speech_like_mel(config, 20)[0], config).axes[0]
    kilohertz = [float(label.get_text()) for label in axis.get_yticklabels()]
    assert kilohertz == [0.25, 0.5, 1, 2, 4]
    np.testing.assert_allclose(np.interp(axis.get_yticks(), np.arange(80), centres), 1000 * np.array(kilohertz))


def test_bands_are_those_of_the_waveform_where_the_filterbank_takes_it_for_another() -> None:
    config = DIALECTS["styletts2"]
    assert config.filterbank_rate == 16_000
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 / config.sample_rate * torch.arange(24_000))
    mel = to_decibels(LogMelSpectrogram(config)(tone[None])[0], config)
    loudest = band_centres(config)[mel[:, 20:-20].mean(axis=1).argmax()]
    assert abs(loudest - 1000) < 40  # less than the distance of two bands


@pytest.mark.parametrize("framing", ["half_hop", "centered"])
def test_what_sounds_at_a_time_is_drawn_at_that_time(framing: str) -> None:
    config = tiny_mel_config(framing=framing)
    click = torch.zeros(64 * config.hop_length)
    sample = 30 * config.hop_length + 7
    click[sample] = 0.9
    figure = draw_mel(LogMelSpectrogram(config)(click[None])[0], config, click)
    left, right, _, _ = figure.axes[1].images[0].get_extent()
    loudness = images(figure)[0].sum(axis=0)
    edges = np.linspace(left, right, len(loudness) + 1)
    loudest = loudness.argmax()
    assert edges[loudest] <= sample / config.sample_rate <= edges[loudest + 1]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_no_peak_of_a_long_waveform_is_lost() -> None:
    waveform = 0.1 * torch.rand(8000)
    waveform[4321], waveform[1234] = 0.9, -0.8
    figure = draw_mel(LogMelSpectrogram(MEL)(waveform[None])[0], MEL, waveform)
    drawn = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert drawn.max() == pytest.approx(0.9)
    assert drawn.min() == pytest.approx(-0.8)


def test_mels_side_by_side_share_one_scale_which_ends_below_the_loudest() -> None:
    mels = {"quiet": speech_like_mel(MEL, 20)[0], "loud": speech_like_mel(MEL, 30)[0] + 5}
    figure = draw_mels(mels, MEL)
    limits = {axis.images[0].get_clim() for axis in figure.axes[:2]}
    assert len(limits) == 1
    low, high = limits.pop()
    assert high == to_decibels(mels["loud"], MEL).max()
    assert low == pytest.approx(high - RANGE_DB)
    assert [axis.get_title("left") for axis in figure.axes[:2]] == ["quiet", "loud"]


def test_what_is_no_mel_of_the_dialect_is_refused() -> None:
    with pytest.raises(ValueError, match="one utterance, but the mel is a batch of 2"):
        draw_mel(speech_like_mel(MEL, 20, batch=2), MEL)
    with pytest.raises(ValueError, match="must have shape"):
        draw_mel(torch.zeros(9, 20), MEL)
    with pytest.raises(ValueError, match="must be finite"):
        draw_mel(torch.full((8, 20), torch.nan), MEL)
    with pytest.raises(TypeError, match="real floating-point"):
        draw_mel(torch.zeros(8, 20, dtype=torch.long), MEL)


# --- pairs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def without_pitch(monkeypatch: pytest.MonkeyPatch) -> None:
    """pYIN takes long."""
    monkeypatch.setattr(pair, "estimate_pitch", lambda waveform, sample_rate: (np.zeros(1), np.ones(1)))


@pytest.mark.usefixtures("without_pitch")
def test_a_copy_of_half_the_amplitude_is_6_db_below() -> None:
    original = 0.3 * torch.randn(4000).clamp(-3, 3)
    figure = draw_pair(original, original / 2, MEL)
    difference = images(figure)[2]
    np.testing.assert_allclose(difference, 20 * np.log10(0.5), atol=1e-2)  # power_epsilon: some thousandths
    mels = images(figure)[:2]
    np.testing.assert_array_equal(mels[1] - mels[0], difference)
    assert figure.axes[5].images[0].get_clim() == (-20, 20)


@pytest.mark.usefixtures("without_pitch")
@pytest.mark.parametrize("gain", [0.1, 3.0])
def test_the_louder_of_a_pair_is_seen_whole(gain: float) -> None:
    original = 0.3 * torch.sin(torch.arange(8000) / 5)
    figure = draw_pair(original, gain * original, MEL)
    for axis in figure.axes[:2]:
        low, high = axis.get_ylim()
        assert low < -0.3 * max(gain, 1)
        assert high > 0.3 * max(gain, 1)


@pytest.mark.usefixtures("without_pitch")
def test_the_longer_one_is_cut_if_it_is_longer_by_less_than_a_second() -> None:
    original = 0.1 * torch.randn(6000)
    figure = draw_pair(original, torch.cat([original, torch.zeros(7999)]), MEL)
    assert images(figure)[0].shape == images(figure)[1].shape == (8, 6000 // MEL.hop_length)
    assert np.abs(images(figure)[2]).max() == 0
    with pytest.raises(ValueError, match=r"within 1 second, but they last 1\.75 and 0\.75 seconds"):
        draw_pair(original, torch.cat([original, torch.zeros(8000)]), MEL)


def test_f0_is_the_voices() -> None:
    _, f0 = pair.estimate_pitch(voice(180.0, 8000, 16_000)[0], 16_000)
    assert np.nanmedian(f0) == pytest.approx(180, rel=0.01)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, mels, and a recording with a copy."""
    config = tiny_config()
    Vocoder(config, tiny_network(config)).save_pretrained(tmp_path / "model")
    waveform = voice(150.0, 8000, 8000)[0]
    soundfile.write(tmp_path / "a.wav", waveform, 8000)
    soundfile.write(tmp_path / "b.wav", waveform[:7000] / 2, 8000)
    mel = LogMelSpectrogram(MEL)(waveform[None])[0]
    np.save(tmp_path / "a.npy", mel)
    torch.save(mel[None], tmp_path / "a.pt")
    (tmp_path / "metrics.csv").write_text("step,train/nll_bits\n0,9\n10,8\n20,7\n")
    return tmp_path


def plot(folder: Path, kind: str, *arguments: str) -> int:
    words = [str(folder / word) if (folder / word).exists() else word for word in arguments]
    return main(["plot", kind, *words, "--output", str(folder / "out.svg")])


@pytest.mark.usefixtures("without_pitch")
@pytest.mark.parametrize(
    "arguments",
    [
        ("mel", "a.wav", "--model", "model"),
        ("mel", "a.npy", "--model", "model"),
        ("mel", "a.pt", "--model", "model"),
        ("mel", "a.wav", "--dialect", "vocos-24k"),
        ("pair", "a.wav", "b.wav", "--model", "model"),
        ("curve", "."),
        ("curve", "metrics.csv"),
        ("network", "model"),
        ("network", "wavenet-64"),
        ("kernel", "model"),
        ("law", "model", "a.wav", "--start", "0.1", "--seconds", "0.005"),
    ],
    ids=" ".join,
)
def test_each_kind_becomes_a_file(folder: Path, arguments: tuple[str, ...]) -> None:
    before = set(folder.iterdir())
    assert plot(folder, *arguments) == 0
    assert {path.name for path in set(folder.iterdir()) - before} == {"out.svg"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mel", "no.wav", "--model", "model"), "An audio file is needed, but there is none at no.wav"),
        (("mel", "no.npy", "--model", "model"), "No such file or directory: 'no.npy'"),
        (("mel", "a.npy"), r"a.npy: `mel` must have shape \(80, frames\)"),
        (("mel", "a.wav", "--dialect", "hifi"), "`dialect` must be a name that"),
        (("network", "wavenet-63"), "there is no 'wavenet-63'"),
        (("law", "model", "a.wav", "--seconds", "0"), "`seconds` must be positive"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert plot(folder, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("vocoder: error: ")
    assert error.count("\n") == 1
    with pytest.raises(ValueError, match=message):
        raise ValueError(error)
    assert not (folder / "out.svg").exists()


def test_a_suffix_is_refused_before_any_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "kernel", "no such model", "--output", "out.gif"]) == 2
    assert f"written as {', '.join(METADATA)}, but its file is out.gif" in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_extra_that_has_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)
    assert plot(folder, "pair", "a.wav", "b.wav", "--model", "model") == 2
    assert (
        "Plotting needs librosa, which is not installed. Run `pip install 'vocoder[eval]'`" in capsys.readouterr().err
    )
