"""Loading, checking, inferring: the same audio from the same arguments, and a clear word on everything else."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vocoder
from conftest import DISTRIBUTIONS, on_engine, speech_like_mel, tiny_config, tiny_mel_config, tiny_network
from vocoder.bundles.bundle import CONFIG_FILE, WEIGHTS_FILE, load_bundle, load_checkpoint, save_bundle
from vocoder.config import SamplingConfig, VocoderConfig, to_dict
from vocoder.engines.noise import draw_noise
from vocoder.formats import FORMAT_VERSION
from vocoder.inference.batching import count_slots
from vocoder.inference.conditioner import Conditioner, condition_whole
from vocoder.inference.mel_checks import DialectWarning
from vocoder.inference.sampler import spread_noise
from vocoder.inference.vocoder import Vocoder

FRAMES = 4


def tiny_vocoder(config: VocoderConfig | None = None) -> Vocoder:
    config = config or tiny_config()
    return Vocoder(config, tiny_network(config), {"steps": 12})


@pytest.fixture
def model() -> Vocoder:
    return tiny_vocoder()


@pytest.fixture
def mel(model: Vocoder) -> Tensor:
    return speech_like_mel(model.mel, FRAMES)[0]


@pytest.fixture
def folder(model: Vocoder, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def write_checkpoint(path: Path, model: Vocoder, **changes: Any) -> Path:
    """What Lightning writes, as far as it matters here."""
    checkpoint = {
        "hyper_parameters": {**to_dict(model.config), "learning_rate": 1e-3},
        "state_dict": {f"network.{key}": value for key, value in model.network.state_dict().items()},
        "global_step": 7,
        "epoch": 1,
    }
    torch.save({**checkpoint, **changes}, path)
    return path


# --- infer


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_time_is_frames_times_hop_length_in_the_range_of_a_waveform(distribution: str) -> None:
    model = tiny_vocoder(tiny_config(distribution))
    waveform = model.infer(speech_like_mel(model.mel, FRAMES)[0])
    assert waveform.shape == (FRAMES * model.hop_length,)
    assert waveform.dtype == torch.float32
    assert waveform.abs().max() <= 1
    assert not waveform.is_inference()


def test_the_same_seed_gives_the_same_waveform_and_another_seed_another(model: Vocoder, mel: Tensor) -> None:
    assert torch.equal(model.infer(mel, seed=5), model.infer(mel, seed=5))
    assert not torch.equal(model.infer(mel, seed=5), model.infer(mel, seed=6))


def test_each_row_of_a_batch_equals_the_utterance_of_its_index_alone(model: Vocoder) -> None:
    mels = speech_like_mel(model.mel, FRAMES, batch=3)
    together = model.infer(mels, seed=2, utterance=10)
    assert together.shape == (3, FRAMES * model.hop_length)
    for row in range(3):
        assert torch.equal(together[row], model.infer(mels[row], seed=2, utterance=10 + row))


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_many_utterances_of_any_length_come_in_order_and_as_one_by_one(
    model: Vocoder, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = on_engine(model, engine)
    monkeypatch.setattr(type(model._engine), "batch_size", 3)  # fewer slots than utterances
    mels = [speech_like_mel(model.mel, frames)[0] for frames in (4, 1, 23, 7, 2, 17, 3)]
    made: list[int] = []
    waveforms = model.infer_many(mels, seed=5, utterance=2, progress=made.append)
    for index, (mel, waveform) in enumerate(zip(mels, waveforms, strict=True)):
        assert torch.equal(waveform, model.infer(mel, seed=5, utterance=2 + index))
    assert sum(made) == sum(len(waveform) for waveform in waveforms)


def test_calling_a_voice_infers(model: Vocoder, mel: Tensor) -> None:
    assert torch.equal(model(mel, seed=3), model.infer(mel, seed=3))


def test_a_voice_says_what_it_is(folder: Path) -> None:
    assert repr(tiny_vocoder()).startswith("Vocoder(8000 Hz, hop 16, 8 mels, ")
    assert repr(Vocoder.from_pretrained(folder)).startswith("Vocoder(model: 8000 Hz, ")
    assert repr(Vocoder.from_pretrained("kathleen")) == (
        "Vocoder(kathleen: 22050 Hz, hop 256, 80 mels, 0.88 M parameters, cpu, gaussian, 8 samples per step)"
    )


def test_a_voice_that_moves_is_the_same_voice(model: Vocoder, mel: Tensor) -> None:
    expected = model.infer(mel)
    assert model.to("cpu") is model
    assert torch.equal(model.infer(mel), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_voice_that_has_moved_infers_there(model: Vocoder, mel: Tensor) -> None:
    model.infer(mel)
    assert model.to("cuda").infer(mel).device.type == "cuda"
    assert torch.equal(torch.cat([*model.stream().over(mel.split(7, dim=-1))]), model.infer(mel))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_machine_without_a_cuda_device_says_so_in_one_sentence(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"but is 'cuda' \([^.]*\)\. Leave it out for the CPU\.$"):
        Vocoder.from_pretrained(folder, device="cuda")


@pytest.mark.parametrize("device", ["warp", "meta:9:9", 1.5], ids=str)
def test_a_device_that_there_is_not_is_refused(model: Vocoder, folder: Path, device: Any) -> None:
    for call in (lambda: model.to(device), lambda: Vocoder.from_pretrained(folder, device=device)):
        with pytest.raises(ValueError, match=rf"`device` must be one that torch has here, cpu .* but is '{device}'"):
            call()


def test_of_many_utterances_each_can_have_the_number_it_likes_and_is_given_as_it_ends(model: Vocoder) -> None:
    mels = [speech_like_mel(model.mel, frames)[0] for frames in (60, 2, 30)]
    ended: dict[int, Tensor] = {}
    waveforms = model.infer_many(mels, utterance=[7, 0, 7], finished=ended.__setitem__)
    assert sorted(ended) == [0, 1, 2]
    for index, number in enumerate((7, 0, 7)):
        assert torch.equal(waveforms[index], model.infer(mels[index], utterance=number))
        assert torch.equal(waveforms[index], ended[index])
    with pytest.raises(ValueError, match="one for each of 3 utterances, but has 2"):
        model.infer_many(mels, utterance=[1, 2])


def test_a_short_utterance_does_not_keep_a_row_busy_until_the_longest_ends(model: Vocoder) -> None:
    engine = on_engine(model)._engine
    assert count_slots(engine, [100] + [6] * 31) <= 8  # one group of rows costs the same, half full or full
    assert count_slots(engine, [20] * 8) == 8
    assert count_slots(engine, []) == 0


def test_no_utterances_give_no_waveforms(model: Vocoder) -> None:
    assert model.infer_many([]) == []


def test_of_many_utterances_the_one_that_cannot_be_inferred_is_named(model: Vocoder, mel: Tensor) -> None:
    with pytest.raises(ValueError, match=r"^Utterance 1: "):
        model.infer_many([mel, mel[:3]])
    with pytest.raises(ValueError, match=r"^Utterance 2: it must be one utterance, but is a batch of 2"):
        model.infer_many([mel, mel, torch.stack([mel, mel])])


def test_the_piece_length_changes_no_bit(model: Vocoder, mel: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = model.infer(mel)
    monkeypatch.setattr("vocoder.inference.sampler.PIECE_FRAMES", 1)
    assert torch.equal(model.infer(mel), whole)


@pytest.mark.parametrize("kind", ["numpy", "float64", "strided", "big-endian", "half", "with gradient"])
def test_every_kind_of_real_mel_is_taken(model: Vocoder, mel: Tensor, kind: str) -> None:
    mel = mel.half().float()
    variants: dict[str, Any] = {
        "numpy": mel.numpy(),
        "float64": mel.double(),
        "strided": np.ascontiguousarray(mel.numpy().T).T,
        "big-endian": mel.numpy().astype(">f4"),
        "half": mel.half(),
        "with gradient": mel.clone().requires_grad_(),
    }
    assert torch.equal(model.infer(variants[kind]), model.infer(mel))


def test_infer_leaves_mel_weights_and_the_random_generator_as_they_were(model: Vocoder, mel: Tensor) -> None:
    before, weights = mel.clone(), {key: value.clone() for key, value in model.network.state_dict().items()}
    generator = torch.get_rng_state()
    model.infer(mel)
    assert torch.equal(mel, before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, weights[key]) for key, value in model.network.state_dict().items())


def test_lower_temperature_comes_nearer_to_the_middle_of_the_law() -> None:
    config = tiny_config("gaussian", num_components=1, linear_prediction_order=0)
    model = tiny_vocoder(config)
    with torch.no_grad():
        model.network.output_2.weight.zero_()
        model.network.output_2.bias.copy_(torch.tensor([0.0, 0.0, -3.0]))
    mel = speech_like_mel(model.mel, FRAMES)[0]
    wide, narrow = model.infer(mel), model.infer(mel, temperature=0.5)
    torch.testing.assert_close(narrow, wide / 2, rtol=0, atol=1 / 32768)  # rounding to a level


def test_a_lower_voiced_temperature_comes_nearer_to_the_middle_of_the_law_the_more_a_frame_is_voiced() -> None:
    config = tiny_config("gaussian", num_components=1)
    model = tiny_vocoder(config)
    mel = speech_like_mel(model.mel, 60)[0]
    assert model.network.pitch_lag is not None
    voicing = model.network.pitch_lag(mel[None])[1][0, :, None]
    assert voicing.min() < 0.1
    assert voicing.max() > 0.5
    drawn, noise = draw_noise(model.network.distribution, 0, [0], 0, 60 * model.hop_length), []
    for voiced_temperature in (1.0, 0.5):
        conditioner = Conditioner(model.network, voiced_temperature=voiced_temperature)
        conditioning = condition_whole(conditioner, mel[None])
        noise.append(spread_noise(drawn, conditioning)[0].unflatten(0, (60, model.hop_length)))
    assert torch.equal(noise[0].flatten(0, 1), drawn[0])
    assert torch.equal(noise[1][..., 0], noise[0][..., 0])  # which component is drawn
    torch.testing.assert_close(noise[1][..., 1], noise[0][..., 1] * (1 - 0.5 * voicing))


@pytest.mark.parametrize("changes", [{}, {"samples_per_step": 4, "recent_excitations": 3}], ids=str)
def test_a_voiced_temperature_of_one_is_the_network_s_own_law(changes: dict[str, Any]) -> None:
    model = on_engine(tiny_vocoder(tiny_config(**changes)))
    mel = speech_like_mel(model.mel, 30)[0]
    own, sharpened = (model.infer(mel, voiced_temperature=t) for t in (1.0, 0.5))
    assert torch.equal(own, model.infer(mel))
    assert not torch.equal(own, sharpened)
    # The samples of the engine itself, with the noise as it comes.
    engine, conditioning = model._engine, condition_whole(Conditioner(model.network), mel[None])
    noise = draw_noise(model.network.distribution, 0, [0], 0, 30 * model.hop_length)
    assert torch.equal(engine.generate(conditioning, noise, engine.initial_state(1))[0], own)


def test_what_a_model_declares_of_its_sampling_is_what_it_does(tmp_path: Path) -> None:
    config = tiny_config()
    plain = tiny_vocoder(config)
    model = Vocoder(replace(config, sampling=SamplingConfig(0.5)), plain.network)
    mel = speech_like_mel(model.mel, 30)[0]
    model.save_pretrained(tmp_path / "model")
    loaded = Vocoder.from_pretrained(tmp_path / "model")
    assert loaded.config.sampling.voiced_temperature == 0.5
    declared = loaded.infer(mel)
    assert torch.equal(declared, plain.infer(mel, voiced_temperature=0.5))
    assert torch.equal(declared, loaded.infer_many([mel])[0])
    assert torch.equal(declared, torch.cat(list(loaded.stream().over(mel.split(7, dim=1)))))
    assert torch.equal(loaded.infer(mel, voiced_temperature=1.0), plain.infer(mel))


def test_each_speaker_has_a_voice_of_its_own() -> None:
    model = tiny_vocoder(tiny_config(num_speakers=3))
    mels = speech_like_mel(model.mel, FRAMES).expand(2, -1, -1)
    together = model.infer(mels, speaker=[2, 0])
    assert torch.equal(together[0], model.infer(mels[0], speaker=2))
    assert torch.equal(model.infer(mels, speaker=1), model.infer(mels, speaker=torch.tensor([1, 1])))
    assert not torch.equal(model.infer(mels[0], speaker=0), model.infer(mels[0], speaker=1))


def test_progress_adds_up_to_all_samples(model: Vocoder, mel: Tensor) -> None:
    made: list[int] = []
    waveform = model.infer(mel, progress=made.append)
    assert sum(made) == len(waveform)


# --- what is refused

SHAPE = r"`mel` must have shape \(8, frames\) or \(batch, 8, frames\), but has"
BAD_MELS: dict[str, tuple[Any, type[Exception], str]] = {
    "rank": (torch.zeros(1, 1, 8, 4), ValueError, SHAPE + r" \(1, 1, 8, 4\)\. .*squeeze"),
    "vector": (torch.zeros(9), ValueError, SHAPE + r" \(9,\)\. .*mel\[None\]"),
    "a frame": (torch.zeros(8), ValueError, SHAPE + r" \(8,\)\. For one frame pass mel\[:, None\]"),
    "bands": (torch.zeros(9, 4), ValueError, SHAPE + r" \(9, 4\)\. Name the dialect that it is"),
    "time-first": (torch.zeros(4, 8), ValueError, SHAPE + r".*time-first: pass mel\.transpose\(0, 1\)"),
    "time-first batch": (torch.zeros(2, 4, 8), ValueError, SHAPE + r".*time-first: pass mel\.transpose\(1, 2\)"),
    "no frames": (torch.zeros(8, 0), ValueError, SHAPE + r".*empty"),
    "no utterances": (torch.zeros(0, 8, 4), ValueError, SHAPE + r".*empty"),
    "integers": (
        torch.zeros(8, 4, dtype=torch.int64),
        TypeError,
        r"real floating-point numbers, but holds torch\.int64",
    ),
    "integer array": (np.zeros((8, 4), dtype=np.int16), TypeError, "real floating-point numbers, but holds int16"),
    "complex": (torch.zeros(8, 4, dtype=torch.complex64), TypeError, "complex64. Take the logarithm of its magnitude"),
    "complex array": (
        np.zeros((8, 4), dtype=np.complex64),
        TypeError,
        "complex64. Take the logarithm of its magnitude",
    ),
    "objects": (np.full((8, 4), None), TypeError, "real floating-point numbers, but holds object"),
    "text": ("mel.npy", TypeError, "tensor or a NumPy array, but is a str"),
    "equal list": ([torch.zeros(8, 4)] * 2, TypeError, r"list of 2\. Join .*torch\.stack"),
    "unequal list": ([torch.zeros(8, 4), torch.zeros(8, 5)], TypeError, r"unequal shapes .*Pass them one by one"),
}


@pytest.mark.parametrize("case", BAD_MELS)
def test_a_mel_that_cannot_be_inferred_is_refused_with_rule_fact_and_remedy(model: Vocoder, case: str) -> None:
    mel, error, message = BAD_MELS[case]
    with pytest.raises(error, match=message):
        model.infer(mel)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_the_first_frame_that_is_not_finite_is_named(model: Vocoder, value: float) -> None:
    mels = speech_like_mel(model.mel, FRAMES, batch=2).double()
    mels[1, 3, 2] = value
    with pytest.raises(ValueError, match="frame 2 of utterance 1 is the first of 1 that hold NaN or infinity"):
        model.infer(mels)


@pytest.mark.parametrize(
    ("low", "high"), [(-20.0, 0.0), (0.0, 1.0), (0.0, 12.0), (-4.0, 4.0)], ids=["low", "[0, 1]", "high", "[-4, 4]"]
)
def test_a_mel_of_another_dialect_is_warned_of_with_both_ranges(model: Vocoder, low: float, high: float) -> None:
    mel = torch.linspace(low, high, 8 * FRAMES).reshape(8, FRAMES)
    with pytest.warns(
        UserWarning, match=rf"between about -11\.5 and 2\.3 .*lies between {low:.1f} and {high:.1f}"
    ) as seen:
        model.infer(mel)
    assert seen[0].filename == __file__


FAR_OFF = {
    "raised": lambda mel: mel + 100,
    "far below": lambda mel: mel - 1e4,
    "steep": lambda mel: mel * 1e30,
    "dB": lambda mel: mel * 20 / math.log(10),
    "magnitude": lambda mel: mel.exp() * 32_768,
    "one value": lambda mel: mel.index_put((torch.tensor(3), torch.tensor(2)), torch.tensor(-3e38)),
}


@pytest.mark.parametrize("case", FAR_OFF)
@pytest.mark.parametrize("call", ["infer", "fold", "infer_many", "stream"])
def test_what_no_sound_has_is_refused_with_what_was_expected_and_what_came(
    model: Vocoder, mel: Tensor, case: str, call: str
) -> None:
    calls = {
        "infer": model.infer,
        "fold": partial(model.infer, fold=True),
        "infer_many": lambda mel: model.infer_many([mel]),
        "stream": lambda mel: list(model.stream().over([mel])),
    }
    with pytest.raises(ValueError, match=r"between about -11\.5 and 2\.3 .*, but lies between .* that no sound has"):
        calls[call](FAR_OFF[case](mel))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("engine", ["native", "torch"])
def test_all_that_is_not_refused_gives_samples_within_full_scale(distribution: str, engine: str) -> None:
    """At the ends of what is let through, and with the steepest spectra."""
    config = tiny_config(distribution)
    model = Vocoder(config, tiny_network(config), engine=engine)
    low, high = config.mel.value_range
    ends = torch.tensor([low - (high - low), high + (high - low)]) * 0.999
    mels = [ends[0].expand(8, 6), ends[1].expand(8, 6), ends[torch.randint(2, (8, 6))], ends[[0, 1] * 4, None]]
    with pytest.warns(DialectWarning):
        waveforms = model.infer_many(mels)
    assert all(waveform.abs().max() <= 1 for waveform in waveforms)  # false for NaN


def test_a_magnitude_is_asked_for_its_logarithm(model: Vocoder, mel: Tensor) -> None:
    with pytest.raises(ValueError, match=r"None of it is negative: is it a magnitude\? Then take its logarithm\."):
        model.infer(mel.exp() * 32_768)


def test_a_network_that_makes_nan_is_no_silence(model: Vocoder, mel: Tensor) -> None:
    with torch.no_grad():
        model.network.output_2.bias.fill_(float("nan"))
    for call in (lambda: model.infer(mel), lambda: model.infer_many([mel]), lambda: model.stream().push(mel)):
        with pytest.raises(ValueError, match=r"waveform must be finite, but the network made NaN"):
            call()


def test_speech_and_digital_silence_are_not_warned_of(model: Vocoder, mel: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.infer(mel)
        model.infer(torch.full_like(mel, model.mel.log_floor))


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("temperature", 0.0, ValueError, "`temperature` must be positive and finite, but is 0"),
        ("temperature", -1, ValueError, "must be positive"),
        ("temperature", float("nan"), ValueError, "must be positive and finite, but is nan"),
        ("temperature", float("inf"), ValueError, "must be positive and finite, but is inf"),
        ("temperature", None, TypeError, "`temperature` must be a number"),
        ("voiced_temperature", "warm", TypeError, "`voiced_temperature` must be a number, but is 'warm'. Leave it out"),
        (
            "voiced_temperature",
            0.0,
            ValueError,
            "above 0 and at most 1, but is 0. Pass 1.0 to sample the network's own",
        ),
        ("voiced_temperature", -0.5, ValueError, "above 0 and at most 1, but is -0.5"),
        ("voiced_temperature", 1.5, ValueError, "above 0 and at most 1, but is 1.5"),
        ("voiced_temperature", float("nan"), ValueError, "above 0 and at most 1, but is nan"),
        (
            "correction_passes",
            -1,
            ValueError,
            "must be a whole number from 0 to 16, but is -1. Pass 0 for the samples",
        ),
        ("correction_passes", 17, ValueError, "from 0 to 16, but is 17. Pass 0 for the samples as they were drawn"),
        ("correction_passes", 1.5, TypeError, "must be a whole number from 0 to 16, but is 1.5"),
        ("correction_passes", True, TypeError, "must be a whole number from 0 to 16, but is True"),
        ("seed", -1, ValueError, "`seed` must lie between"),
        ("seed", 2**64, ValueError, "`seed` must lie between"),
        ("seed", 0.5, TypeError, "`seed` must be an integer"),
        ("seed", None, TypeError, "`seed` must be an integer"),
        ("utterance", -1, ValueError, "`utterance` must lie between"),
        ("speaker", 0, ValueError, "single voice, but `speaker` is 0. Leave it out"),
    ],
)
def test_an_option_outside_its_range_is_refused(
    model: Vocoder, mel: Tensor, option: str, value: Any, error: type[Exception], message: str
) -> None:
    calls: tuple[Callable[..., Any], ...] = (partial(model.infer, mel), partial(model.infer_many, [mel]), model.stream)
    for call in calls:
        with pytest.raises(error, match=message):
            call(**{option: value})


def test_an_engine_that_does_not_exist_is_refused(model: Vocoder, mel: Tensor) -> None:
    with pytest.raises(ValueError, match=r"`engine` must be one of auto, .*torch"):
        on_engine(model, "warp").infer(mel)


def test_a_model_that_does_not_ask_what_is_voiced_refuses_to_be_sharpened_there() -> None:
    model = tiny_vocoder(tiny_config(linear_prediction_order=0))
    mel = speech_like_mel(model.mel, FRAMES)[0]
    message = (
        "must be 1 for a model without linear prediction, which .*, but is 0.7. Leave it out, or pass `temperature`"
    )
    calls: tuple[Callable[..., Any], ...] = (partial(model.infer, mel), partial(model.infer_many, [mel]), model.stream)
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call(voiced_temperature=0.7)
    assert torch.equal(model.infer(mel, voiced_temperature=1.0), model.infer(mel))


@pytest.mark.parametrize(
    ("speaker", "error", "message"),
    [
        (None, ValueError, "index from 0 to 2.*none was given"),
        (3, ValueError, "index from 0 to 2.*but is 3"),
        (-1, ValueError, "index from 0 to 2.*but is -1"),
        ([0, 1, 2], ValueError, "one for each of 2 utterances, but has shape"),
        (0.5, TypeError, "whole numbers"),
        ("anna", TypeError, "whole numbers"),
    ],
)
def test_a_speaker_that_the_model_does_not_have_is_refused(speaker: Any, error: type[Exception], message: str) -> None:
    model = tiny_vocoder(tiny_config(num_speakers=3))
    with pytest.raises(error, match=message):
        model.infer(speech_like_mel(model.mel, FRAMES, batch=2), speaker=speaker)


# --- bundles


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_saved_and_loaded_a_model_gives_the_same_audio(distribution: str, tmp_path: Path) -> None:
    per_band = tiny_mel_config(shift=[float(band) for band in range(8)], clip=(-12.0, 3.0))
    model = tiny_vocoder(tiny_config(distribution, mel=per_band, num_speakers=2, residual_scale=0.7))
    model.save_pretrained(tmp_path / "deep" / "model")
    loaded = Vocoder.from_pretrained(tmp_path / "deep" / "model")
    mel = speech_like_mel(model.mel, FRAMES)[0]
    assert loaded.config == model.config
    assert loaded.training == {"steps": 12}
    assert (loaded.sample_rate, loaded.hop_length) == (8000, 16)
    assert torch.equal(loaded.infer(mel, speaker=1), model.infer(mel, speaker=1))


def test_a_bundle_holds_two_files_readable_by_those_who_may_read_the_folder(folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [CONFIG_FILE, WEIGHTS_FILE]
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in folder.iterdir()}
    assert len(set(modes.values())) == 1, modes


def test_loading_a_model_draws_nothing_from_the_random_generator(folder: Path) -> None:
    before = torch.get_rng_state()
    load_bundle(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_save_that_fails_midway_leaves_the_old_model_or_none(
    model: Vocoder, folder: Path, tmp_path: Path, mel: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, content: bytes) -> None:
        path.open("wb").close()
        raise OSError("No space left on device")

    before = model.infer(mel)
    monkeypatch.setattr(Path, "write_bytes", half)
    for target in (folder, tmp_path / "new"):
        with pytest.raises(OSError, match="No space left"):
            save_bundle(target, tiny_config(), tiny_network())
    assert [file.name for file in tmp_path.iterdir()] == [folder.name]
    assert torch.equal(Vocoder.from_pretrained(folder).infer(mel), before)


@pytest.mark.parametrize("replaced", [0, 1])
def test_killed_between_its_files_a_save_leaves_no_model_rather_than_a_mixed_one(
    folder: Path, replaced: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def killed(source: Path, target: Path) -> None:
        if len(calls) == replaced:
            raise KeyboardInterrupt
        calls.append(target)
        Path(source).rename(target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(folder, tiny_config(), tiny_network())
    with pytest.raises(FileNotFoundError, match=rf"has no {CONFIG_FILE}"):
        load_bundle(folder)


def test_saving_leaves_other_files_of_the_folder_alone(model: Vocoder, folder: Path) -> None:
    (folder / "README.md").write_text("card")
    model.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "card"


def test_a_newer_format_is_refused_with_the_way_out(folder: Path) -> None:
    edit_config(folder, format_version=FORMAT_VERSION + 1)
    message = rf"config\.json has format version {FORMAT_VERSION + 1}, but .* up to {FORMAT_VERSION}\. Upgrade"
    with pytest.raises(ValueError, match=message):
        load_bundle(folder)


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": None}, "must say its `format_version`"),
        ({"mel": {"n_mel": 8}}, "describes no model: MelConfig has no field n_mel"),
        ({"mel": {"n_mels": "8"}}, "describes no model"),
        ({"network": {"distribution": {"bits": 99}}}, "bits must lie between 2 and 12"),
        ({"mel": 3}, "describes no model"),
        ({"network": 3}, "describes no model"),
        ({"sampling": {"voiced_temperature": 2.0}}, "describes no model: .*above 0 and at most 1, but is 2"),
        ({"network": {"samples_per_step": 3}}, "describes no model: .*samples_per_step must divide"),
        ({"network": {"samples_per_step": 16}}, "describes no model: .*at most the shortest lag .*, 12 samples"),
    ],
)
def test_a_config_that_describes_no_model_is_named(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(ValueError, match=rf"config\.json.*{message}"):
        load_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00"])
def test_a_damaged_config_is_named(folder: Path, content: bytes) -> None:
    (folder / CONFIG_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        load_bundle(folder)


def test_damaged_weights_are_named_wherever_they_are_cut(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    whole = path.read_bytes()
    for content in (b"", b"\x00", os.urandom(1000), whole[:7], whole[:100], whole[:-1], whole + b"more"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
            load_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dilation_cycles": 3}, r"it lacks layers\..*and \d+ more.*in another shape skip\.weight"),
        ({"layers_per_cycle": 2}, r"unknown to this model, layers\."),
        ({"skip_channels": 16}, r"another shape output_1\.weight \(12, 12\) instead of \(12, 16\)"),
        ({"samples_per_step": 2}, r"another shape input\.weight \(8, 4\) .*output_1\.bias \(12,\) instead of \(24,\)"),
    ],
)
def test_weights_of_another_model_are_refused_naming_what_differs(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    edit_config(folder, network=to_dict(tiny_config(**changes).network))
    with pytest.raises(ValueError, match=rf"model\.safetensors must hold the weights.*{message}"):
        load_bundle(folder)


def test_weights_that_are_not_finite_are_refused(model: Vocoder, tmp_path: Path) -> None:
    with torch.no_grad():
        model.network.skip.bias[0] = float("nan")
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"not all finite skip\.bias"):
        load_bundle(tmp_path)


# --- checkpoints


def test_a_training_checkpoint_gives_the_same_audio_as_its_network(model: Vocoder, mel: Tensor, tmp_path: Path) -> None:
    loaded = Vocoder.from_pretrained(write_checkpoint(tmp_path / "last.ckpt", model))
    assert loaded.training == {"steps": 7}
    assert torch.equal(loaded.infer(mel), model.infer(mel))


def test_of_a_checkpoint_the_averaged_weights_are_taken(model: Vocoder, tmp_path: Path) -> None:
    now = {f"network.{key}": torch.zeros_like(value) for key, value in model.network.state_dict().items()}
    network = load_checkpoint(write_checkpoint(tmp_path / "a.ckpt", model, current_model_state=now)).network
    assert torch.equal(network.skip.weight, model.network.skip.weight)


def test_a_checkpoint_that_would_run_code_is_refused_and_the_code_not_run(model: Vocoder, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "boom",)

    write_checkpoint(tmp_path / "zip.ckpt", model, callbacks=Bomb())
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Bomb()))
    for name in ("zip.ckpt", "plain.ckpt"):
        with pytest.raises(ValueError, match=rf"{name} could not be read as a checkpoint"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "boom").exists()


def test_a_damaged_checkpoint_is_named_wherever_it_is_cut(model: Vocoder, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "cut.ckpt", model)
    whole = path.read_bytes()
    for content in (b"", os.urandom(1000), whole[:10], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cut\.ckpt could not be read as a checkpoint"):
            load_checkpoint(path)


WHOLE = {"hyper_parameters": {"mel": {}, "network": {}}, "state_dict": {}}


@pytest.mark.parametrize(
    "content",
    [[], {"state_dict": {}}, {"hyper_parameters": 3, "state_dict": {}}, torch.zeros(2), {**WHOLE, "training": 0.5},
     {**WHOLE, "training": {"bits": torch.zeros(2)}}],
)  # fmt: skip
def test_a_file_of_another_program_is_no_checkpoint(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other\.ckpt is no checkpoint of a vocoder"):
        load_checkpoint(tmp_path / "other.ckpt")


# --- finding a model


def test_a_model_that_does_not_exist_is_refused_with_what_may_be_passed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must be a folder, a \.ckpt file, a hub id .*there is no 'nobody'"):
        Vocoder.from_pretrained("nobody")
    with pytest.raises(FileNotFoundError, match="there is no"):
        Vocoder.from_pretrained(tmp_path / "missing" / "model")
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        Vocoder.from_pretrained(tmp_path)


def test_a_weights_file_alone_is_refused_with_the_way_out(folder: Path) -> None:
    with pytest.raises(ValueError, match="For a bundle pass its folder"):
        Vocoder.from_pretrained(folder / WEIGHTS_FILE)


def test_a_hub_id_is_fetched_once_no_such_folder_exists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def snapshot(name: str, **options: Any) -> str:
        asked.append((name, options["revision"]))
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    Vocoder.from_pretrained("anna/voice", revision="v1")
    assert asked == [("anna/voice", "v1")]


def test_a_hub_that_does_not_answer_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def snapshot(name: str, **_: Any) -> str:
        raise ConnectionError("no network.")

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    with pytest.raises(OSError, match=r"no folder 'anna/voice', and it could not be fetched .* no network"):
        Vocoder.from_pretrained("anna/voice")


def test_without_huggingface_hub_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        Vocoder.from_pretrained("anna/voice")


def test_a_voice_of_the_package_is_found_by_its_name(
    model: Vocoder, mel: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vocoder.bundles.names.VOICES", tmp_path)
    model.save_pretrained(tmp_path / "anna-8")
    assert torch.equal(vocoder.infer(mel, "anna-8"), model.infer(mel))
    with pytest.raises(FileNotFoundError, match=r"\(anna-8\), but there is no 'ana-8'"):
        vocoder.infer(mel, "ana-8")


def test_a_model_is_loaded_once_and_again_after_it_has_changed(model: Vocoder, folder: Path, mel: Tensor) -> None:
    from vocoder.inference.vocoder import _cached

    _cached.cache_clear()
    first = vocoder.infer(mel, folder, seed=1)
    assert torch.equal(vocoder.infer(mel, folder, seed=1), first)
    assert torch.equal(vocoder.infer(mel, model, seed=1), first)
    assert _cached.cache_info().misses == 1
    tiny_vocoder().save_pretrained(folder)
    os.utime(folder / CONFIG_FILE, (0, 0))
    assert not torch.equal(vocoder.infer(mel, folder, seed=1), first)


ALONE = """
import sys, warnings
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
import torch, vocoder
mel = torch.full((8, 4), -7.0) + torch.arange(4.0)
print(tuple(vocoder.infer(mel, {folder!r}).shape), vocoder.__version__)
"""


@pytest.mark.parametrize("name", ["temperature", "voiced_temperature", "speaker"])
def test_a_number_of_any_length_is_refused_by_its_name(name: str) -> None:
    config = tiny_config(num_speakers=2)
    model = Vocoder(config, tiny_network(config))
    with pytest.raises(TypeError, match=rf"`{name}` must be"):
        model.infer(speech_like_mel(config.mel, 2)[0], **{"speaker": 0, name: 10**400})


FORKED = """
import os, signal, torch, vocoder
from vocoder.inference.mel_checks import describe_other_dialects
torch.set_num_threads(2)
model = vocoder.Vocoder.from_pretrained({folder!r})
mel = torch.full((8, 4), -7.0) + torch.arange(4.0)
many = mel.repeat(64, 1, 1000)
def work():
    describe_other_dialects(many, model.config.mel)
    return model.infer(mel)
made = work()
child = os.fork()
if not child:
    signal.alarm(20)
    os._exit(not torch.equal(work(), made))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_process_that_is_forked_after_work_works_as_well(folder: Path) -> None:
    code = FORKED.format(folder=str(folder))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (run.stdout, run.stderr) == ("0\n", "")


def test_inference_runs_with_all_of_training_uninstalled_and_says_nothing(folder: Path) -> None:
    blocked = ("lightning", "pytorch_lightning", "wandb", "librosa", "torchaudio", "huggingface_hub", "soundfile")
    code = ALONE.format(blocked=blocked, folder=str(folder))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr == ""
    assert run.stdout == f"(64,) {vocoder.__version__}\n"


def test_a_revision_is_for_the_hub_only(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"`revision` is for models on the hub, but .* is here"):
        Vocoder.from_pretrained(folder, revision="main")


@pytest.mark.parametrize("call", ["infer", "infer_many", "vocoder.infer"])
def test_a_warning_points_at_the_line_that_asked(model: Vocoder, call: str) -> None:
    loud = torch.full((8, 4), 12.0)
    calls = {
        "infer": lambda: model.infer(loud),
        "infer_many": lambda: model.infer_many([loud]),
        "vocoder.infer": lambda: vocoder.infer(loud, model),
    }
    with pytest.warns(UserWarning, match="looks like another dialect") as caught:
        calls[call]()
    assert caught[0].filename == __file__
