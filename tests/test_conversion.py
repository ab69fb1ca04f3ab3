from __future__ import annotations

import dataclasses
import math
import os
from functools import cache
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from conftest import tiny_config, tiny_network
from test_features import speech_like
from vocoder.bundles.bundle import save_bundle
from vocoder.cli.dialects import WIDTH, add_dialects
from vocoder.config import MelConfig
from vocoder.features.audio import load_audio, resample
from vocoder.features.band_map import BandMap, needs_estimate
from vocoder.features.comparison import LARGEST_ERROR_DB
from vocoder.features.conversion import Converter, compare, convert_mel, make_converter, resolve_dialect
from vocoder.features.dialects import CATALOGUE
from vocoder.features.mel import LogMelSpectrogram
from vocoder.features.values import denormalise, log_area, unguard

PRESETS = {name: dialect.mel for name, dialect in CATALOGUE.items()}
PAIRS = [(a, b) for a in PRESETS for b in PRESETS if a != b]
NEAR = [  # whose frames are equally far apart
    (a, b)
    for a, b in PAIRS
    if PRESETS[a].hop_length * PRESETS[b].sample_rate == PRESETS[b].hop_length * PRESETS[a].sample_rate
]
fit = cache(compare)
SAME_BANDS = [(a, b) for a, b in NEAR if not needs_estimate(PRESETS[a], PRESETS[b])]
EXACT = [(a, b) for a, b in SAME_BANDS if fit(a, b).verdict == "exact"]

# One of each kind of map: edges, scale and norm, power and misread rate, emphasis, other sample rates.
MAPS = [
    ("hifigan", "espnet"),
    ("espnet", "hifigan"),
    ("r9y9", "tacotron2"),
    ("bigvgan-22k-full", "hifigan"),
    ("hifigan", "bigvgan-22k-full"),
    ("vocos-24k", "bigvgan-24k"),
    ("styletts2", "parallel-wavegan-24k"),
    ("parallel-wavegan-24k", "styletts2"),
    ("real-time-voice-cloning", "nv-wavenet"),
    ("nv-wavenet", "parallel-wavegan-24k"),
    ("cosyvoice2", "cosyvoice3"),
    ("bigvgan-44k-512", "hifigan"),
    ("wavernn", "rayhane"),
]

# The source is clipped 40 dB below full scale: of soft speech it says next to nothing.
HIDING = [("rayhane", "wavernn"), ("rayhane", "tacotron2-wavernn")]

SPEECH = os.environ.get("VOCODER_SPEECH")


@cache
def waveforms() -> list[Tensor]:
    """Speech at 22 050 Hz if there is any, otherwise something like it."""
    if SPEECH is None:
        return [0.2 * torch.from_numpy(speech_like(2.0)).float()]  # as loud as recordings are
    files = [
        file for voice in ("kathleen", "kerstin") for file in sorted(Path(SPEECH, voice, "wavs").iterdir())[7:250:80]
    ]
    return [load_audio(file, 22_050)[: 4 * 22_050] for file in files]


@cache
def speech_at(sample_rate: int) -> list[Tensor]:
    return [resample(waveform, 22_050, sample_rate) for waveform in waveforms()]


def bands_first(dialect: str) -> MelConfig:
    return dataclasses.replace(PRESETS[dialect], layout="bands_first")


@cache
def extract(dialect: str, delay: int = 0) -> list[Tensor]:
    """Mels (bands, frames) of the speech, delayed."""
    mel = bands_first(dialect)
    analyse = LogMelSpectrogram(mel)
    return [analyse((F.pad(x, (delay, 0)) if delay >= 0 else x[-delay:])[None])[0] for x in speech_at(mel.sample_rate)]


def decibels(mel: Tensor, config: MelConfig) -> Tensor:
    """Magnitude of each band (n_mels, frames), out of a mel."""
    log_band = unguard(denormalise(mel.double().T, config), config).T
    return log_band * 20 / (math.log(10) * config.power)


def errors(source: str, target: str, within: float = 60.0) -> Tensor:
    """In dB, of bands so near the loudest of the utterance, in frames away from the ends that are not clipped."""
    a, b = PRESETS[source], PRESETS[target]
    convert, loudest = Converter(a, b), math.inf if a.clip is None else a.clip[1]
    found = []
    for given_mel, expected in zip(extract(source), extract(target, fit(source, target).delay), strict=True):
        frames = slice(6, min(given_mel.shape[1], expected.shape[1]) - 6)
        truth, estimate = decibels(expected[:, frames], b), decibels(convert(given_mel[None])[0, :, frames], b)
        heard = (truth > truth.max() - within) & (given_mel[:, frames] < loudest).all(dim=0)
        found.append((estimate - truth)[heard])
    return torch.cat(found)


def differing(source: str, target: str) -> list[str]:
    pair = PRESETS[source], PRESETS[target]
    return [
        field.name for field in dataclasses.fields(MelConfig) if len({getattr(mel, field.name) for mel in pair}) > 1
    ]


def rms(error: Tensor) -> float:
    return error.square().mean().sqrt().item()


# --- between presets


@pytest.mark.parametrize(("source", "target"), EXACT)
def test_an_exact_conversion_is_the_targets_own_analysis_of_the_delayed_speech(source: str, target: str) -> None:
    error = errors(source, target, within=45.0)  # quieter bands are at coqui's floor where the speech is quiet
    if PRESETS[source].window == PRESETS[target].window:
        assert error.abs().max() < 0.02
    else:  # between harmonics a periodic and a symmetric window let through more or less of them
        assert rms(error) < 0.02
        assert error.abs().max() < 0.5


@pytest.mark.parametrize(("source", "target"), [*MAPS, *HIDING])
def test_an_approximation_is_about_as_far_off_as_it_says(source: str, target: str) -> None:
    expected = fit(source, target).error_db
    # Measured on twenty utterances of two voices, errors are from 0.6 to 1.6 times the expected.
    assert expected / 3 < rms(errors(source, target)) < 2 * expected


@pytest.mark.slow
@pytest.mark.skipif(SPEECH is None, reason="VOCODER_SPEECH names no folder of speech")
@pytest.mark.parametrize(("source", "target"), [pair for pair in NEAR if pair not in EXACT])
def test_every_approximation_of_real_speech_is_about_as_far_off_as_it_says(source: str, target: str) -> None:
    expected, error = fit(source, target).error_db, rms(errors(source, target))
    if expected == 0:
        assert error < 0.05
    elif PRESETS[target].f_max <= 12_000:  # the recordings hold nothing above, which is not what is expected of speech
        assert expected / 2.5 < error < 2 * expected


def test_a_refusal_names_every_field_that_differs_and_both_values() -> None:
    for source, target in [*HIDING, ("rayhane", "hifigan")]:
        with pytest.raises(ValueError, match=f"{source} → {target} is refused") as caught:
            make_converter(PRESETS[source], PRESETS[target], approximate=True)
        for field in differing(source, target):
            assert f" {field} " in str(caught.value)
    with pytest.raises(ValueError, match=r"Pass mels of the target's dialect, or train .* `vocoder new-recipe --help`"):
        make_converter(PRESETS["rayhane"], PRESETS["hifigan"])
    with pytest.raises(ValueError, match=r"sample_rate 22050 Hz → 16000 Hz \(only approximable\); .*f_min 0 Hz"):
        make_converter(PRESETS["tacotron2"], PRESETS["speecht5"])


@pytest.mark.slow
def test_frames_that_are_equally_far_apart_are_not_refused_unless_the_source_hides_speech() -> None:
    assert [pair for pair in NEAR if fit(*pair).verdict == "refused"] == HIDING


@pytest.mark.parametrize(("source", "target"), [("hifigan", "espnet"), ("tacotron2", "coqui-ddc")])
def test_what_is_approximate_must_be_asked_for(source: str, target: str) -> None:
    mel = extract(source)[0][None]
    with pytest.raises(ValueError, match=r"to the target's, .*only approximable.*Pass approximate=True"):
        make_converter(PRESETS[source], PRESETS[target])
    assert make_converter(PRESETS[source], PRESETS[target], approximate=True)(mel).isfinite().all()


def test_digital_silence_becomes_digital_silence() -> None:
    silence = {name: LogMelSpectrogram(bands_first(name))(torch.zeros(1, 8192))[..., :1] for name in PRESETS}
    for source, target in {*MAPS, *SAME_BANDS}:
        converted = make_converter(PRESETS[source], PRESETS[target], approximate=True)(silence[source])
        error = (converted - silence[target]) * torch.as_tensor(PRESETS[target].scale) / PRESETS[target].log_factor
        assert error.abs().max() < 1e-4, (source, target)  # of a neper: float32


def test_presets_that_are_one_family_convert_exactly() -> None:
    # The families of mel-dialects: identical but for logarithm, range, guard and framing.
    for names in (("tacotron2", "hifigan", "matcha-ljspeech"), ("wavernn", "tacotron2-wavernn")):
        assert all(fit(a, b) for a in names for b in names if a != b)
    for source, target in (("coqui-ddc", "tacotron2"), ("vocos-24k", "f5-tts"), ("nemo-fastpitch", "tacotron2")):
        assert fit(source, target)
    assert not fit("f5-tts", "vocos-24k")  # whose floor is lower


# --- what the numbers become, by NumPy


BASE = MelConfig(n_mels=4, layout="bands_first")
MEL = torch.tensor([[[-11.5], [-3.25], [0.0], [1.75]]])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"log": "log10"}, lambda v: v / np.log(10)),
        ({"log": "db"}, lambda v: 20 * np.log10(np.exp(v))),
        ({"shift": -5.5, "scale": 2.1}, lambda v: (v + 5.5) / 2.1),
        ({"shift": (1, 2, 3, 4), "scale": (1, 2, 1, 2)}, lambda v: (v - np.c_[1:5]) / np.c_[[1, 2, 1, 2]]),
        ({"log": "db", "shift": -100, "scale": 100, "clip": (0.0, 1.0)}, lambda v: np.clip(1 + 0.0868588964 * v, 0, 1)),
        ({"floor": 1e-2}, lambda v: np.maximum(v, np.log(1e-2))),
        ({"guard": "add", "floor": 1e-3}, lambda v: np.log(np.exp(v) + 1e-3)),
        ({"guard": "add", "floor": 1.0}, lambda v: np.log1p(np.exp(v))),
    ],
)
def test_a_value_is_converted_as_the_formula_says(changes: dict[str, Any], expected: Any) -> None:
    converted = make_converter(BASE, dataclasses.replace(BASE, **changes))(MEL)
    np.testing.assert_allclose(converted[0].numpy(), expected(MEL[0].double().numpy()), rtol=1e-6, atol=1e-7)


def test_unit_area_and_unit_height_differ_by_half_the_width_of_each_filter() -> None:
    slaney = MelConfig(n_mels=20, n_fft=4096, win_length=4096)
    none = dataclasses.replace(slaney, mel_norm="none", floor=1e-2)
    added = make_converter(slaney, none)(torch.zeros(1, 20, 1))[0, :, 0]
    edges = librosa.mel_frequencies(22, fmin=0.0, fmax=8000.0)
    # A triangle of unit height between f0 and f1 has the area (f1 - f0) / 2.
    np.testing.assert_allclose(added.exp().numpy(), (edges[2:] - edges[:-2]) / 2, rtol=1e-5)


values = st.floats(-11.0, 3.0, width=32)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(values, min_size=4, max_size=4),
    st.sampled_from(["ln", "log10", "db"]),
    st.lists(st.floats(-100, 100), min_size=4, max_size=4),
    st.lists(st.floats(0.1, 100), min_size=4, max_size=4),
)
def test_there_and_back_is_where_it_was(frame: list[float], log: Any, shift: list[float], scale: list[float]) -> None:
    other = dataclasses.replace(BASE, log=log, shift=tuple(shift), scale=tuple(scale))
    mel = torch.tensor(frame).reshape(1, 4, 1)
    there = make_converter(BASE, other)(mel)
    back = make_converter(other, BASE)(there)
    # float32 has 24 bits of what stands between: the value in the other dialect, in units of this one.
    spacing = there.abs().amax() * max(scale) / other.log_factor * 2**-24
    assert (back - mel).abs().max() <= spacing + 2**-20


def test_a_dialect_to_itself_changes_no_bit_also_below_the_floor() -> None:
    mel = torch.tensor([[[-20.0], [-11.5129], [-3.3], [88.0]]])
    assert torch.equal(make_converter(BASE, BASE)(mel), mel)


def test_what_was_clipped_stays_clipped() -> None:
    clipped = dataclasses.replace(BASE, log="db", shift=-100.0, scale=100.0, clip=(0.0, 1.0))
    back = convert_mel(make_converter(BASE, clipped)(MEL), clipped, BASE, approximate=True)
    torch.testing.assert_close(back, MEL.clamp(max=0.0), rtol=0, atol=1e-5)


def test_a_band_at_the_floor_keeps_its_level_in_a_frame_that_sounds() -> None:
    higher = dataclasses.replace(BASE, power_epsilon=0.0)
    lower, floor = dataclasses.replace(higher, floor=1e-10), math.log(BASE.floor)
    mel = torch.tensor([[[floor, floor]] * 3 + [[floor, -2.0]]])
    converted = make_converter(higher, lower, approximate=True)(mel)
    torch.testing.assert_close(converted[..., 1], mel[..., 1])
    torch.testing.assert_close(converted[..., 0], torch.full((1, 4), math.log(1e-10)))


# --- maps between filterbanks


@pytest.mark.parametrize(("source", "target"), MAPS)
def test_a_flat_spectrum_stays_flat(source: str, target: str) -> None:
    a, b = PRESETS[source], PRESETS[target]
    if a.pre_emphasis or b.pre_emphasis:
        pytest.skip("the same spectrum is not flat for both")
    mapped = BandMap(a, b)(log_area(a)[None])[0]
    rate = b.power * math.log(b.sample_rate / a.sample_rate)  # a window of as many seconds gathers as much more
    # Below the source's lowest band the spectrum falls, and each step carries that on by two bands at most.
    torch.testing.assert_close(mapped[12:], (log_area(b) + rate)[12:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["hifigan", "vocos-24k", "styletts2"])
def test_a_map_to_the_same_bands_gives_them_back(name: str) -> None:
    mel = PRESETS[name]
    log_band = (extract(name)[0].T.double() * torch.tensor(mel.scale) + torch.tensor(mel.shift)).clamp(min=-9)
    error = (BandMap(mel, mel)(log_band) - log_band) * 20 / math.log(10) / mel.power
    assert rms(error) < 1  # five steps do not get further


def test_twice_as_loud_is_mapped_twice_as_loud() -> None:
    a, b = PRESETS["styletts2"], PRESETS["nv-wavenet"]
    log_band = torch.randn(3, 80, dtype=torch.float64)
    louder = BandMap(a, b)(log_band + 2 * math.log(2)) - BandMap(a, b)(log_band)
    torch.testing.assert_close(louder, torch.full_like(louder, math.log(2)), rtol=0, atol=1e-9)


def test_a_map_that_would_be_another_sound_is_refused() -> None:
    narrow = MelConfig(f_max=1000.0, n_mels=20)
    fit = compare(narrow, "hifigan")
    assert fit.verdict == "refused"
    assert LARGEST_ERROR_DB < fit.error_db < math.inf
    with pytest.raises(ValueError, match=r"refused, about \d+ dB off: n_mels 20 → 80 .*; f_max 1000 Hz → 8000 Hz"):
        make_converter(narrow, MelConfig(), approximate=True)


# --- delay


@pytest.mark.parametrize("hop", [256, 275])
def test_the_delay_is_what_makes_centred_frames_half_hop_frames(hop: int) -> None:
    centered = MelConfig(hop_length=hop, framing="centered")
    half_hop = MelConfig(hop_length=hop)
    late, early = compare(centered, half_hop).delay, compare(half_hop, centered).delay
    assert late == -early
    assert abs(late - hop / 2) <= 0.5
    x = torch.randn(1, 40 * hop)
    given, expected = LogMelSpectrogram(centered)(x), LogMelSpectrogram(half_hop)(F.pad(x, (late, 0)))
    torch.testing.assert_close(
        given[..., 4:30], expected[..., 4:30], rtol=0, atol=1e-3
    )  # of float32's Fourier transforms


def test_the_delay_counts_the_targets_samples() -> None:
    assert fit("tacotron2", "bigvgan-44k-512").delay == 256
    assert fit("bigvgan-44k-512", "tacotron2").delay == -128


# --- pieces, shapes, kinds


@pytest.mark.parametrize(("source", "target"), [("tacotron2", "wavernn-like"), ("hifigan", "espnet")])
def test_pieces_put_together_are_the_whole(source: str, target: str) -> None:
    wanted = PRESETS.get(target, dataclasses.replace(PRESETS[source], log="db", shift=-100.0, scale=100.0))
    convert, mel = make_converter(PRESETS[source], wanted, approximate=True), extract(source)[0][None]
    whole = convert(mel)
    for size in (1, 7, 64):
        pieces = torch.cat([convert(piece) for piece in mel.split(size, dim=-1)], dim=-1)
        assert torch.equal(pieces, whole)


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray, lambda x: torch.from_numpy(x).double()])
def test_any_axes_and_kind_of_array_will_do(kind: Any) -> None:
    mel = extract("tacotron2")[0]
    expected = convert_mel(mel, "tacotron2", "espnet", approximate=True)
    assert expected.shape == (mel.shape[1], 80)  # ESPnet's frames come first
    given = kind(mel.numpy())
    batch = convert_mel(given[None], "tacotron2", "espnet", approximate=True)
    assert batch.shape == (1, *expected.shape)
    assert batch.dtype == torch.float32
    assert torch.equal(batch[0], expected)
    assert torch.equal(convert_mel(batch, "espnet", "espnet"), batch)


def test_mels_of_the_wrong_shape_or_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(frames, 80\) or .* but has \(80, 7\)"):
        convert_mel(torch.zeros(80, 7), "espnet", "parallel-wavegan")
    with pytest.raises(ValueError, match=r"shape \(80, frames\) or .* but has \(7, 80\)"):
        convert_mel(torch.zeros(7, 80), "tacotron2", "hifigan")
    with pytest.raises(TypeError, match="is a list"):
        convert_mel([[0.0]], "tacotron2", "hifigan")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int64"):
        convert_mel(torch.zeros(80, 7, dtype=torch.int64), "tacotron2", "hifigan")


def test_statistics_of_both_sides_are_undone_and_done() -> None:
    rng = np.random.default_rng(0)
    mel, mean, scale = rng.normal(-3, 1, (9, 80)), rng.normal(-3, 1, 80), rng.uniform(0.5, 2, 80)
    normalised = (mel - mean) / scale
    converted = convert_mel(normalised, "espnet", "parallel-wavegan", stats=(mean, scale), target_stats=(-2.0, 3.0))
    np.testing.assert_allclose(converted.numpy(), (mel + 2) / 3, rtol=0, atol=1e-6)


# --- names and explanations


def test_a_name_that_is_none_brings_those_near_it() -> None:
    with pytest.raises(ValueError, match=r"'hifi-gan'\. Is it 'hifigan'.*\?"):
        resolve_dialect("hifi-gan")
    with pytest.raises(TypeError, match="is a int"):
        resolve_dialect(3)  # type: ignore[arg-type]


def test_a_fit_explains_every_difference() -> None:
    fit = compare("tacotron2", "coqui")
    assert not fit
    lines = str(fit).splitlines()
    assert lines[0].startswith("tacotron2 → coqui: approximate, about 0.")
    assert [line.split()[0] for line in lines[3:]] == [difference.field for difference in fit.differences]
    assert str(compare("tacotron2", "speechbrain")) == "tacotron2 → speechbrain: the same"
    assert bool(compare("tacotron2", "speechbrain"))


def test_a_fit_calls_dialects_by_their_names_also_normalised_ones() -> None:
    assert compare(resolve_dialect("espnet", (-2.0, 1.0)), MelConfig()).names == ("espnet, normalised", "hifigan")
    assert compare(MelConfig(n_mels=33), "hifigan").names == ("source", "hifigan")


def test_values_below_the_floor_as_a_model_may_predict_do_no_harm() -> None:
    mel = torch.full((1, 80, 2), -1000.0)
    mel[..., 1] = 0.0
    assert make_converter(PRESETS["hifigan"], PRESETS["espnet"], approximate=True)(mel).isfinite().all()


def run_command(*arguments: str) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_dialects(parser.add_subparsers())
    options = parser.parse_args(["dialects", *arguments])
    options.run(options)


def test_the_command_lists_every_preset_in_120_columns(capsys: pytest.CaptureFixture[str]) -> None:
    run_command()
    lines = capsys.readouterr().out.splitlines()
    table = lines[1 : lines.index("")]
    assert [line.split()[0].rstrip("*") for line in table if line[0] != " "] == list(PRESETS)
    assert max(map(len, lines)) <= 120


def test_the_command_describes_one_and_explains_two(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run_command("hifigan")
    text = capsys.readouterr().out
    assert all(f"  {field.name} " in text for field in dataclasses.fields(MelConfig))
    assert "exactly from: tacotron2, " in text
    assert max(map(len, text.splitlines())) <= WIDTH
    run_command("espnet", "hifigan")
    assert capsys.readouterr().out == f"{compare('espnet', 'hifigan')}\n"
    config = tiny_config()
    save_bundle(tmp_path / "model", config, tiny_network(config))
    run_command(str(tmp_path / "model"), "hifigan")
    assert f"{tmp_path / 'model'} → hifigan: refused" in capsys.readouterr().out
    with pytest.raises(ValueError, match="Is it 'hifigan'"):
        run_command("hifgan")


def test_the_command_shows_all_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    run_command("--pairs")
    text = capsys.readouterr().out
    for name in PRESETS:
        assert f"  {name} " in text
    row = next(line for line in text.splitlines() if "  vocos-24k " in line)
    assert row.split()[2:] == [f"{fit('vocos-24k', 'bigvgan-24k').error_db:.1f}", "=", "="]
    assert max(map(len, text.splitlines())) <= 120
