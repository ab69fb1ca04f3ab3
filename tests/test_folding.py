"""Folding: pieces side by side are joined so that nobody finds the place, and none strays from where it belongs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from conftest import DISTRIBUTIONS, on_engine, speech_like_mel, tiny_config, tiny_mel_config, tiny_network, voice
from vocoder import Vocoder
from vocoder.config import VocoderConfig
from vocoder.inference import folding
from vocoder.inference.conditioner import Conditioner, condition_whole
from vocoder.inference.folding import Fold, Piece, align, choose_cuts, count_pieces, cross_fade, measure_power, warm_up
from vocoder.model.wavenet import Conditioning

RATE, HOP, FADE, LIMIT, PERIOD = 22_050, 256, 440, 55, 110  # a voice of 200 Hz, whose period is whole

Samples = npt.NDArray[np.float64]


# --- joining, on signals whose joint is known


def lay_out(count: int, limit: int = LIMIT) -> Fold:
    """Pieces of twenty frames each, with one before and one after."""
    frames = 20 * count
    zeros = torch.zeros(1, frames, 0)
    ones = torch.ones(1, frames)
    conditioning = Conditioning(zeros, zeros, ones, lag=ones, reach=ones, spread=ones, speaker=torch.zeros(1, 0))
    pieces = [
        Piece(max(0, 20 * index - 3), 20 * index + 23, 20 * index * HOP, limit if index else 0)
        for index in range(count)
    ]
    return Fold(conditioning, pieces, HOP, FADE)


def render(fold: Fold, signal: Callable[[npt.NDArray[np.int64], int], Samples]) -> list[Samples]:
    """What each piece generates, given a signal of the utterance's time and of the piece's index."""
    return [signal(np.arange(piece.first * HOP, piece.stop * HOP), index) for index, piece in enumerate(fold.pieces)]


@pytest.mark.parametrize("late", [1, 17, 54, 55, 56, 93, 109])
def test_a_pulse_train_of_any_phase_is_joined_without_a_dip_or_a_jump(late: int) -> None:
    fold = lay_out(2)
    period = voice(RATE / PERIOD, PERIOD)[0].double().numpy()
    whole, shifts = fold.assemble(render(fold, lambda time, index: period[(time - late * index) % PERIOD]))
    np.testing.assert_allclose(whole[PERIOD:], whole[:-PERIOD], atol=1e-12)  # as periodic as it was
    assert (shifts[1] + late) % PERIOD == 0
    assert abs(shifts[1]) <= LIMIT


def test_a_tone_between_two_samples_is_joined_to_half_a_sample() -> None:
    fold = lay_out(2, limit=40)
    for late in (0.5, 20.3, 39.7):
        parts = render(fold, lambda time, index, late=late: np.sin(2 * math.pi * (time - late * index) / 77.7))
        whole, _ = fold.assemble(parts)
        # The most by which a tone of amplitude 1 changes its slope in a sample, and half a sample's phase on top.
        step = 2 * math.pi / 77.7
        assert np.abs(np.diff(whole, 2)).max() < 1.1 * step**2
        # A constant level within 0.1 dB: whole sinusoids of 77.7 samples do not fit into whole windows.
        level = np.sqrt(np.convolve(whole**2, np.ones(777) / 777, mode="valid"))
        assert 20 * np.log10(level.max() / level.min()) < 0.1


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_noise_keeps_its_power_across_a_joint_however_alike_the_pieces_are(share: float) -> None:
    # Without a search: in noise it finds what is alike by chance, where correlation and power depend on each other.
    fold, powers, random = lay_out(400, limit=0), [], np.random.default_rng(0)
    common = random.standard_normal(20 * 400 * HOP + 23 * HOP)
    whole, _ = fold.assemble(
        render(
            fold,
            lambda time, _: (
                0.1 * math.sqrt(share) * common[time] + 0.1 * math.sqrt(1 - share) * random.standard_normal(len(time))
            ),
        )
    )
    for piece in fold.pieces[1:]:
        near = whole[piece.cut - FADE : piece.cut + FADE]
        powers.append((near.reshape(-1, FADE // 5) ** 2).mean(axis=1))
    level = 10 * np.log10(np.mean(powers, axis=0) / 0.01)
    # 399 · 88 samples each: the mean square of a Gaussian strays by 0.033 dB; four times that, and a little for the
    # correlation, which is measured, not known.
    assert np.abs(level).max() < 0.2, level


def test_noise_keeps_its_power_when_the_best_place_is_searched() -> None:
    fold, random = lay_out(200), np.random.default_rng(1)
    whole, _ = fold.assemble(render(fold, lambda time, _: 0.1 * random.standard_normal(len(time))))
    faded = np.concatenate([whole[p.cut - FADE // 2 : p.cut + FADE // 2] for p in fold.pieces[1:]])
    assert abs(10 * math.log10((faded**2).mean() / 0.01)) < 0.2


def test_no_piece_is_moved_by_more_than_its_limit_and_fifty_joins_do_not_add_up() -> None:
    fold = lay_out(51)
    # Each piece begins a third of a period later than the last, and none is quite in tune: a drift, if one could be.
    parts = render(fold, lambda time, index: (time - 37 * index) % (PERIOD + index % 3 - 1) / PERIOD - 0.5)
    whole, shifts = fold.assemble(parts)
    assert len(whole) == fold.conditioning.frames * HOP
    assert max(map(abs, shifts)) <= LIMIT
    assert len(set(shifts)) > 10  # all over the place, as they should be here
    for piece, following, part, shift in zip(fold.pieces, [*fold.pieces[1:], None], parts, shifts, strict=True):
        begin = piece.cut + FADE // 2 if piece.cut else 0
        stop = following.cut - FADE // 2 if following else len(whole)
        at = begin - shift - piece.first * HOP
        np.testing.assert_array_equal(whole[begin:stop], part[at : at + stop - begin])


def test_silence_is_joined_where_it_lies() -> None:
    fold = lay_out(3)
    whole, shifts = fold.assemble(render(fold, lambda time, _: np.zeros(len(time))))
    assert not whole.any()
    assert shifts == [0, 0, 0]


def test_the_gains_are_of_constant_power_for_signals_as_alike_as_they_say() -> None:
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 100_000))
    for likeness in (0.0, 0.3, 1.0):
        other = likeness * a + math.sqrt(1 - likeness**2) * b
        faded = cross_fade(a, other, likeness)
        tenths = (faded.reshape(10, -1) ** 2).mean(axis=1)
        np.testing.assert_allclose(tenths, 1, atol=0.06)  # four standard deviations of 10 000 samples' mean square
    np.testing.assert_allclose(cross_fade(a, a, 1.0), a, atol=1e-12)


def test_alignment_prefers_the_least_of_equal_shifts() -> None:
    tone = np.tile([0.0, 1.0, 0.0, -1.0], 20)
    assert align(tone[21:41], tone[10:50]) == (-1, pytest.approx(1.0))  # as would -9, -5, 3 and 7
    assert align(tone[20:40], tone[8:52]) == (0, pytest.approx(1.0))
    assert align(np.zeros(20), tone[10:50]) == (0, 0.0)


# --- where to cut


def test_cuts_go_to_the_quietest_frame_within_reach() -> None:
    power = [1.0] * 30
    power[12], power[21], power[26] = 0.2, 0.3, 0.0  # 26 is out of reach of 20
    assert choose_cuts(power, 3, reach=4) == [12, 21]
    assert choose_cuts(power, 3, reach=1) == [10, 21]
    assert choose_cuts([0.5] * 30, 3, reach=4) == [10, 20]
    assert choose_cuts(power, 1, reach=4) == []


def test_the_power_of_a_mel_is_that_of_its_waveform_in_every_dialect() -> None:
    pytest.importorskip("torchaudio")
    from vocoder.features.mel import LogMelSpectrogram

    loudness = torch.tensor([0.0, -10.0, -20.0])  # well above the floor of a power
    noise = torch.randn(3 * 4096) * 10 ** (loudness.repeat_interleave(4096) / 20) * 0.1
    shifted = {"shift": [float(band) for band in range(8)], "scale": 3.0}
    for changes in ({}, {"log": "db", "power": 2.0}, {"pre_emphasis": 0.9}, shifted):
        config = tiny_mel_config(**changes)
        power = measure_power(LogMelSpectrogram(config)(noise[None]), config)[0]
        level = 10 * power.reshape(3, -1)[:, 8:-8].mean(dim=1).log10()
        torch.testing.assert_close(level - level[0], loudness.double(), atol=1.0, rtol=0)  # dB


# --- whole utterances, by tiny networks


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an eighth of a second, so that tiny networks make several in a blink."""
    monkeypatch.setattr(folding, "PIECE_SECONDS", 0.125)
    monkeypatch.setattr(folding, "REACH_SECONDS", 0.0125)


FRAMES = 300  # 4800 samples, 0.6 s


def tiny_vocoder(config: VocoderConfig | None = None) -> Vocoder:
    config = config or tiny_config()
    return Vocoder(config, tiny_network(config))


def plan(model: Vocoder, frames: int = FRAMES) -> Fold:
    mel = speech_like_mel(model.mel, frames)
    with torch.no_grad():
        conditioning = model.network.condition(mel)
    return Fold.plan(model.network, conditioning, measure_power(mel, model.mel)[0])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("frames", [200, 300])
def test_time_is_frames_times_hop_length(distribution: str, frames: int) -> None:
    model = tiny_vocoder(tiny_config(distribution))
    assert count_pieces(model.network, frames) > 1
    waveform = model.infer(speech_like_mel(model.mel, frames)[0], fold=True)
    assert waveform.shape == (frames * model.hop_length,)
    assert waveform.dtype == torch.float32
    assert waveform.abs().max() <= 1


def test_one_piece_is_the_plain_waveform_bit_for_bit() -> None:
    model = tiny_vocoder()
    mel = speech_like_mel(model.mel, 100)[0]
    assert count_pieces(model.network, 100) == 1
    assert torch.equal(model.infer(mel, fold=True, seed=3), model.infer(mel, seed=3))


def test_a_network_without_memory_gives_the_same_folded_for_pieces_share_the_noise() -> None:
    model = tiny_vocoder(tiny_config("gaussian", num_components=1, linear_prediction_order=0))
    with torch.no_grad():
        model.network.output_2.weight.zero_()
        model.network.output_2.bias.copy_(torch.tensor([0.0, 0.0, -3.0]))
    mel = speech_like_mel(model.mel, FRAMES)[0]
    folded = model.infer(mel, seed=4, utterance=2, fold=True)
    torch.testing.assert_close(folded, model.infer(mel, seed=4, utterance=2), rtol=0, atol=1e-6)  # float32's rounding


@pytest.mark.parametrize("step", [2, 8])
def test_steps_of_several_samples_are_folded_as_single_ones_are(step: int) -> None:
    model = on_engine(tiny_vocoder(tiny_config(samples_per_step=step, recent_excitations=4)))
    mels = speech_like_mel(model.mel, FRAMES, batch=2)
    assert count_pieces(model.network, FRAMES) > 1
    together = model.infer(mels, utterance=3, fold=True)
    assert together.shape == (2, FRAMES * model.hop_length)
    assert torch.equal(together[1], model.infer(mels[1], utterance=4, fold=True))
    assert not torch.equal(together[1], model.infer(mels[1], utterance=4))


def test_pieces_are_sharpened_where_the_whole_is() -> None:
    """By a network without memory, whose samples are the noise: all that differs is the voiced temperature."""
    model = on_engine(tiny_vocoder(tiny_config("gaussian", num_components=1)))
    flatten(model)
    mel = speech_like_mel(model.mel, FRAMES)[0]
    whole, folded = (model.infer(mel, seed=4, voiced_temperature=0.5, fold=fold) for fold in (False, True))
    conditioning = condition_whole(Conditioner(model.network, voiced_temperature=0.5), mel[None])
    assert conditioning.spread.unique().numel() > 2
    torch.testing.assert_close(folded, whole, rtol=0, atol=1e-6)  # float32's rounding
    assert not torch.equal(whole, model.infer(mel, seed=4))


def flatten(model: Vocoder) -> None:
    """Let every law be of one width about zero, whatever was before."""
    network = model.network
    with torch.no_grad():
        network.output_2.weight.zero_()
        network.output_2.bias.copy_(torch.tensor([0.0, 0.0, -3.0]))
    network.distribution.place = lambda parameters, location, scale, reach: parameters  # type: ignore[method-assign]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_arguments_give_the_same_bits_on_any_number_of_threads(threads: int) -> None:
    model = tiny_vocoder()
    mel = speech_like_mel(model.mel, FRAMES)[0]
    assert torch.equal(on_engine(model, "auto", threads=threads).infer(mel, fold=True), model.infer(mel, fold=True))


def test_each_row_of_a_folded_batch_equals_the_utterance_of_its_index_alone() -> None:
    model = tiny_vocoder(tiny_config(num_speakers=3))
    mels = speech_like_mel(model.mel, FRAMES, batch=2)
    together = model.infer(mels, seed=2, utterance=10, speaker=[2, 0], fold=True)
    assert together.shape == (2, FRAMES * model.hop_length)
    for row, speaker in enumerate([2, 0]):
        alone = model.infer(mels[row], seed=2, utterance=10 + row, speaker=speaker, fold=True)
        assert torch.equal(together[row], alone)


def test_progress_adds_up_to_the_samples_of_the_result() -> None:
    made: list[int] = []
    model = tiny_vocoder()
    waveform = model.infer(speech_like_mel(model.mel, FRAMES)[0], fold=True, progress=made.append)
    assert sum(made) == len(waveform)
    assert min(made) >= 0
    assert len(made) > 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernel_size": 3},
        {"linear_prediction_order": 0},
        {"samples_per_step": 4, "recent_excitations": 3},
        {"samples_per_step": 8},
    ],
)
def test_what_is_heard_of_a_piece_depends_on_its_own_samples_only(changes: dict[str, Any]) -> None:
    model = tiny_vocoder(tiny_config(**changes))
    network, fold = model.network, plan(model)
    waveform = 0.1 * torch.randn(1, FRAMES * model.hop_length)
    with torch.no_grad():
        whole = network(waveform, fold.conditioning)
        for piece, part in zip(fold.pieces[1:], fold.parts(0)[1:], strict=True):
            heard = piece.cut - fold.fade // 2 - piece.limit
            start, (conditioning,) = part.place.sample, part.conditioning
            assert heard - start >= warm_up(network) >= network.receptive_field
            stop = min(piece.stop, FRAMES)
            inside = conditioning.slice_frames(0, stop - piece.first)
            alone = network(waveform[:, start : stop * model.hop_length], inside)
            # Up to rounding, for silence before the piece and the true past give the same laws.
            torch.testing.assert_close(
                alone[:, heard - start :], whole[:, heard : stop * model.hop_length], rtol=1e-4, atol=1e-4
            )


def test_pieces_have_enough_on_both_sides_to_be_moved() -> None:
    model = tiny_vocoder()
    fold = plan(model)
    ends = [*(piece.cut + fold.fade // 2 for piece in fold.pieces[1:]), FRAMES * model.hop_length]
    assert len(fold.pieces) >= 4
    for piece, end, part in zip(fold.pieces, ends, fold.parts(0), strict=True):
        assert part.place.sample + part.frames * model.hop_length >= end + piece.limit
        assert part.frames == piece.stop - piece.first
    assert fold.pieces[-1].stop > FRAMES  # where its last frame is repeated
    (last,) = fold.parts(0)[-1].conditioning
    assert torch.equal(last.scale[:, -1], fold.conditioning.scale[:, -1])


def test_a_piece_moves_by_half_the_pitch_period_at_its_cut_or_by_five_milliseconds() -> None:
    model, blind = tiny_vocoder(), tiny_vocoder(tiny_config("mu_law_categorical"))
    assert model.network.pitch_lag is not None
    fold = plan(model)
    conditioning = replace(fold.conditioning, lag=torch.full((1, FRAMES), 21))
    again = Fold.plan(model.network, conditioning, torch.ones(FRAMES))
    assert {piece.limit for piece in again.pieces[1:]} == {(21 + model.network.pitch_lag.lead) // 2}
    assert {piece.limit for piece in plan(blind).pieces[1:]} == {40}
    assert fold.pieces[0].limit == 0


def test_the_number_of_pieces_follows_from_length_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network()
    monkeypatch.setattr(folding, "PIECE_SECONDS", 1.0)
    assert [count_pieces(network, frames) for frames in (1, 500, 999, 1000, 5000)] == [1, 1, 1, 2, 10]
    monkeypatch.setattr(folding, "PIECE_SECONDS", 0.0)
    # 15 samples of the layers, 32 of the echo, 16 of the predictor; 160 of the fade; two frames to round: four times.
    assert warm_up(network) == 15 + 32 + 16
    assert count_pieces(network, 4 * (63 + 160 + 32) * 3 // 16 + 1) == 3


@pytest.mark.parametrize("fold", [2, "yes", None])
def test_a_fold_that_is_neither_yes_nor_no_is_refused(fold: Any) -> None:
    model = tiny_vocoder()
    with pytest.raises(TypeError, match=r"`fold` must be True or False, but is .*number of pieces follows from the"):
        model.infer(speech_like_mel(model.mel, 4)[0], fold=fold)


# --- real speech, by the voice that ships


SPEECH = os.environ.get("VOCODER_SPEECH")
UTTERANCES, SECONDS = 6, 10.0  # of single test utterances one after the other: none is so long


@pytest.fixture(scope="module")
def spoken() -> tuple[Vocoder, list[Tensor], list[Samples]]:
    """The voice that ships, mels of real speech that it has not seen, and what it makes of them unfolded."""
    if SPEECH is None:
        pytest.skip("VOCODER_SPEECH names no folder of real speech")
    pytest.importorskip("torchaudio")
    from vocoder.data.corpora import split
    from vocoder.data.layouts import read_corpus
    from vocoder.features.audio import load_audio
    from vocoder.features.mel import LogMelSpectrogram

    model, mels, parts = Vocoder.from_pretrained("kathleen-64"), [], []
    for utterance in split(read_corpus(Path(SPEECH) / "kathleen"))["test"]:
        parts.append(load_audio(utterance.path, RATE))
        if sum(map(len, parts)) > SECONDS * RATE and len(mels) < UTTERANCES:
            whole = torch.cat(parts)
            mels.append(LogMelSpectrogram(model.mel)(whole[None, : len(whole) // HOP * HOP])[0])
            parts = []
    return model, mels, [model.infer(mel, seed=seed).double().numpy() for seed, mel in enumerate(mels)]


def level_at(waveform: Samples, place: int) -> float:
    """Of 15 ms about a place, in dB."""
    return 10 * math.log10((waveform[place - 165 : place + 165] ** 2).mean() + 1e-9)


def level_change(waveform: Samples, place: int) -> float:
    """The largest from one 10 ms to the next within 20 ms of a place, in dB."""
    levels = [
        10 * math.log10((waveform[place + at : place + at + 220] ** 2).mean() + 1e-9) for at in range(-440, 221, 110)
    ]
    return float(np.abs(np.subtract(levels[2:], levels[:-2])).max())


def spectral_flux(waveform: Samples, place: int) -> float:
    """Mean change of the bands' levels from the 23 ms before a place to those after, 20 ms on, in dB."""
    bands = voice_bands()
    before, after = (
        10 * np.log10(bands @ np.abs(np.fft.rfft(waveform[t - 256 : t + 256] * np.hanning(512))) ** 2 + 1e-9)
        for t in (place - 220, place + 220)
    )
    return float(np.abs(after - before).mean())


def voice_bands() -> Samples:
    import librosa

    return librosa.filters.mel(sr=RATE, n_fft=512, n_mels=40, norm=None)


def periodicity(waveform: Samples, place: int) -> float:
    """How much 15 ms about a place resemble those one period of 80 to 450 Hz before, from 0 to 1."""
    here = waveform[place - 165 : place + 165]
    before = np.lib.stride_tricks.sliding_window_view(waveform[place - 165 - 275 : place + 165 - 49], 330)
    return float(np.max(before @ here / np.sqrt((before**2).sum(axis=1) * (here**2).sum() + 1e-12)))


def pitch_change(pitch: Samples, place: int) -> float:
    """The largest from one frame to the next within 17 ms of a place, in cents; nan where any is unvoiced."""
    near = pitch[(place - 384) // 128 : (place + 384) // 128 + 1]
    return float(np.abs(1200 * np.diff(np.log2(near))).max())


def find_pitch(waveform: Samples) -> Samples:
    """pYIN's, every 128 samples, nan where unvoiced."""
    import librosa

    pitch, voiced, _ = librosa.pyin(waveform, fmin=80, fmax=500, sr=RATE, frame_length=1024, hop_length=128)
    return np.where(voiced, pitch, np.nan)


def describe(waveform: Samples, places: list[int]) -> dict[str, list[float]]:
    """What a listener could notice at some places, of those near neither end."""
    pitch = find_pitch(waveform)
    places = [place for place in places if 2000 < place < len(waveform) - 2000]
    return {
        "level change": [level_change(waveform, place) for place in places],
        "spectral flux": [spectral_flux(waveform, place) for place in places],
        "F0 change": [pitch_change(pitch, place) for place in places],
        "periodicity": [periodicity(waveform, place) for place in places],
    }


def compare(joins: list[float], others: list[float]) -> tuple[float, float, int]:
    """Mann-Whitney's p, the probability that a join has the larger value, and how many joins have one."""
    from scipy.stats import mannwhitneyu

    here, there = (np.array(values)[np.isfinite(values)] for values in (joins, others))
    test = mannwhitneyu(here, there)
    return float(test.pvalue), float(test.statistic) / (len(here) * len(there)), len(here)


def against_phase(tail: Samples, near: Samples) -> tuple[int, float]:
    """Where the next piece cancels the one before it."""
    return align(-tail, near)[0], 1.0


@pytest.mark.slow
@pytest.mark.parametrize("where", ["where it is quiet", "anywhere"])
def test_joins_in_speech_are_like_any_other_place(
    spoken: tuple[Vocoder, list[Tensor], list[Samples]], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("librosa")
    stats = pytest.importorskip("scipy.stats")
    model, mels, plains = spoken
    monkeypatch.setattr(folding, "PIECE_SECONDS", 1.0)
    monkeypatch.setattr(folding, "REACH_SECONDS", 0.1 if where == "where it is quiet" else 0.0)
    found: dict[str, list[dict[str, list[float]]]] = {"joins": [], "same places unfolded": [], "other places": []}
    levels, cancelled = [], []
    for seed, (mel, plain) in enumerate(zip(mels, plains, strict=True)):
        folded = model.infer(mel, seed=seed, fold=True).double().numpy()
        power = measure_power(mel[None], model.mel)[0]
        fold = Fold.plan(model.network, condition_whole(Conditioner(model.network), mel[None]), power)
        joins = [piece.cut for piece in fold.pieces[1:]]
        # By the same rule, for a quiet place differs from others whether there is a join or not.
        reach = int(folding.REACH_SECONDS * RATE / HOP)
        others = {
            frame * HOP + HOP // 2
            for count in range(len(fold.pieces) + 1, len(fold.pieces) + 4)
            for frame in choose_cuts(power.tolist(), count, reach)
        }
        others = {place for place in others if min(abs(place - join) for join in joins) > 0.1 * RATE}
        found["joins"].append(describe(folded, joins))
        found["same places unfolded"].append(describe(plain, joins))
        found["other places"].append(describe(folded, sorted(others)))
        levels += [level_at(folded, join) - level_at(plain, join) for join in joins]
        with monkeypatch.context() as patch:
            patch.setattr(folding, "align", against_phase)
            wrong = model.infer(mel, seed=seed, fold=True).double().numpy()
        cancelled += [level_at(wrong, join) - level_at(plain, join) for join in joins]

    print(f"\n{where}: {len(levels)} joins")
    failures = []
    for name in found["joins"][0]:
        joins_, same, other = ([value for part in parts for value in part[name]] for parts in found.values())
        for control, values in (("same places unfolded", same), ("other places", other)):
            p, larger, count = compare(joins_, values)
            print(f"{name:>14} at {count} joins, {control}: p = {p:.3f}, a join's is larger in {100 * larger:.0f} %")
            # Half of them, within two and a half standard deviations for as many as there are.
            if p <= 0.05 or abs(larger - 0.5) > 2.5 * math.sqrt(1 / (6 * count)):
                failures.append((name, control, p, larger))
    p = stats.wilcoxon(levels).pvalue
    lost = stats.wilcoxon(cancelled).pvalue
    print(f"level at joins, folded less unfolded: {np.mean(levels):+.2f} dB, p = {p:.3f}")
    print(f"the same, joined against the phase:   {np.mean(cancelled):+.2f} dB, p = {lost:.1e}")
    assert not failures
    assert p > 0.05
    assert abs(np.mean(levels)) < 0.75  # dB, below what is heard; two standard deviations of the mean
    # What the test would see: the very same pieces, joined badly.
    assert lost < 1e-3
    assert np.mean(cancelled) < -1.5
