"""Segments are the file's own samples, their mels those of the whole file, and their order a function of the seed."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from conftest import tiny_config, tiny_mel_config
from vocoder.data.corpora import CorpusError, Utterance
from vocoder.data.segments import Augmentation, RandomSegments, ResumableSampler, SegmentCutter, WholeUtterances
from vocoder.features.mel import LogMelSpectrogram
from vocoder.training.module import VocoderModule

RATE, HOP = 8000, 16
FRAMINGS = ("half_hop", "centered")
EDGES = ("reflect", "zero")


def write(path: Path, samples: int, channels: int = 1) -> Utterance:
    seed = int.from_bytes(hashlib.sha256(path.name.encode()).digest()[:4], "big")
    audio = np.random.default_rng(seed).uniform(-0.5, 0.5, (samples, channels))
    soundfile.write(path, audio, RATE, subtype="FLOAT")
    return Utterance(path.stem, path, samples)


def read(utterance: Utterance) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(utterance.path, dtype="float32", always_2d=True)[0].mean(axis=1))


def module_and_cut(framing: str = "half_hop", edges: str = "reflect", **changes) -> tuple[VocoderModule, SegmentCutter]:
    config = tiny_config(mel=tiny_mel_config(framing=framing, edges=edges, **changes))
    module = VocoderModule(config.mel, config.network)
    return module, SegmentCutter(HOP, module.margin, edges)


def batch_of(item: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.unsqueeze(0) for name, value in item.items()}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("start", [0, 1, 20, 42])
def test_a_segment_is_a_stretch_of_the_file_mixed_down_to_mono(tmp_path, start, channels):
    module, cut = module_and_cut()
    utterance = write(tmp_path / "a.wav", 50 * HOP + 5, channels)
    item = cut(utterance, start, 8)
    waveform, _ = module.target(batch_of(item))
    torch.testing.assert_close(waveform[0], read(utterance)[start * HOP : (start + 8) * HOP], rtol=0, atol=0)
    assert item["mask"].all()
    assert len(item["waveform"]) == sum(module.margin) + 8 * HOP


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("odd", [0, 5, 15], ids=lambda n: f"{n} samples beyond the last frame")
@pytest.mark.parametrize("start", [0, 1, 3, 17, 39, 41, 42])
def test_the_conditioning_of_a_segment_is_that_part_of_what_inference_makes_of_the_whole_file(
    tmp_path, start, odd, framing, edges
):
    module, cut = module_and_cut(framing, edges)
    utterance = write(tmp_path / "a.wav", 50 * HOP + odd)
    mel = LogMelSpectrogram(module.mel_config)(read(utterance)[None])[..., :50]
    whole = module.network.condition(mel).slice_frames(start, start + 8)
    part = module.condition(batch_of(cut(utterance, start, 8)))
    for name in ("context", "coefficients", "scale"):
        torch.testing.assert_close(getattr(part, name), getattr(whole, name), rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_likelihood_of_a_whole_utterance_is_that_of_the_network_on_the_plain_file(tmp_path, framing, edges):
    module, cut = module_and_cut(framing, edges)
    utterance = write(tmp_path / "a.wav", 50 * HOP + 7)
    waveform = read(utterance)[None]
    mel = LogMelSpectrogram(module.mel_config)(waveform)[..., :50]
    parameters = module.network(waveform[:, : 50 * HOP], module.network.condition(mel))  # a past of silence
    expected = -module.network.distribution.log_prob(parameters, waveform[:, : 50 * HOP]).mean()
    (item,) = WholeUtterances([utterance], cut, max_frames=1000)
    torch.testing.assert_close(module.nll(batch_of(item)), expected, rtol=1e-4, atol=1e-4)


def test_a_dialect_that_has_frames_first_is_trained_alike(tmp_path):
    item = batch_of(module_and_cut()[1](write(tmp_path / "a.wav", 50 * HOP), 0, 8))
    losses = []
    for layout in ("bands_first", "frames_first"):
        torch.manual_seed(0)
        module, _ = module_and_cut(layout=layout)
        assert module.mel_config.layout == layout
        losses.append(module.nll(item))
    assert torch.equal(*losses)


def test_a_validation_utterance_is_cut_off_at_max_frames(tmp_path):
    _, cut = module_and_cut()
    (item,) = WholeUtterances([write(tmp_path / "a.wav", 50 * HOP)], cut, max_frames=20)
    assert len(item["mask"]) == 20 * HOP
    assert item["span"].tolist() == [0, 50]


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("samples", [1, 2, HOP - 1, HOP, 30, 31, 33, 65, 100])
def test_a_clip_shorter_than_a_segment_is_padded_and_the_padding_masked(tmp_path, samples, framing, edges):
    module, cut = module_and_cut(framing, edges)
    utterance = write(tmp_path / "a.wav", samples)
    item = cut(utterance, 0, 8)
    audio = samples if samples < HOP else samples // HOP * HOP
    assert item["waveform"].shape == (sum(module.margin) + 8 * HOP,)
    assert item["mask"].tolist() == [t < audio for t in range(8 * HOP)]
    waveform, _ = module.target(batch_of(item))
    torch.testing.assert_close(waveform[0, :audio], read(utterance)[:audio], rtol=0, atol=0)
    assert torch.isfinite(module.nll(batch_of(item)))


def test_padding_has_no_part_in_the_loss(tmp_path):
    module, cut = module_and_cut()
    batch = batch_of(cut(write(tmp_path / "a.wav", 5 * HOP), 0, 12))
    assert batch["mask"].sum() == 5 * HOP
    changed = {**batch, "waveform": batch["waveform"].clone()}
    end = module.margin[0] + 5 * HOP + module.log_mel.padding[1]  # beyond what the last frame sees
    changed["waveform"][:, end:] = 0.9
    assert not torch.equal(module.target(batch)[0], module.target(changed)[0])
    assert torch.equal(module.nll(batch), module.nll(changed))


def test_the_loss_of_a_batch_is_the_mean_over_all_samples_with_audio(tmp_path):
    module, cut = module_and_cut()
    items = [cut(write(tmp_path / f"{frames}.wav", frames * HOP), 0, 8) for frames in (2, 8)]
    apart = [module.nll(batch_of(item)) for item in items]
    together = module.nll({name: torch.stack([item[name] for item in items]) for name in items[0]})
    torch.testing.assert_close(together, (2 * apart[0] + 8 * apart[1]) / 10)


def test_a_segment_is_a_function_of_seed_and_index(tmp_path):
    _, cut = module_and_cut()
    corpus = [write(tmp_path / f"{n}.wav", 60 * HOP) for n in range(3)]

    def take(seed: int, indices: list[int]) -> dict[int, bytes]:
        segments = RandomSegments(corpus, cut, frames=4, seed=seed)
        return {index: segments[index]["waveform"].numpy().tobytes() for index in indices}

    forwards = take(0, list(range(20)))
    np.random.seed(1)
    assert take(0, list(range(19, -1, -1))) == forwards
    assert len(set(forwards.values())) > 15
    assert list(take(1, list(range(20))).values()) != list(forwards.values())


def test_an_utterance_comes_up_in_proportion_to_its_length():
    lengths = (10, 20, 30, 140)
    corpus = [Utterance(str(n), Path("unread"), n * HOP) for n in lengths]
    starts = {length: set() for length in lengths}
    counts = dict.fromkeys(lengths, 0)

    class Counting(SegmentCutter):
        def __call__(self, utterance: Utterance, start: int, frames: int) -> dict[str, torch.Tensor]:
            counts[utterance.samples // HOP] += 1
            starts[utterance.samples // HOP].add(start)
            return {"waveform": torch.zeros(1)}

    segments = RandomSegments(corpus, Counting(HOP, (0, 0)), frames=12, seed=0)
    for index in range(2000):
        segments[index]
    chi_square = sum((counts[n] - 10 * n) ** 2 / (10 * n) for n in lengths)
    assert chi_square < 16.3  # 0.1 % of true proportions, three degrees of freedom
    assert starts[10] == {0}  # shorter than a segment
    assert starts[20] == set(range(9))
    assert max(starts[140]) == 128


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_processes_of_a_run_share_its_segments_without_overlap(world_size):
    seen = [list(ResumableSampler(12, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert sorted(index for part in seen for index in part) == list(range(12))
    assert {len(part) for part in seen} == {len(ResumableSampler(12, rank=0, world_size=world_size))}


@pytest.mark.parametrize("world_size", [1, 2])
def test_entering_a_run_in_the_middle_continues_the_same_sequence(world_size):
    for rank in range(world_size):
        whole = list(ResumableSampler(24, rank=rank, world_size=world_size))
        rest = ResumableSampler(24, done=lambda: 8, rank=rank, world_size=world_size)
        assert list(rest) == whole[8 // world_size :]
        assert len(rest) == len(whole)  # Lightning counts from the beginning of the run


@pytest.mark.parametrize("damage", ["gone", "garbled", "shorter"])
def test_a_file_that_changes_during_a_run_is_named(tmp_path, damage):
    _, cut = module_and_cut()
    utterance = write(tmp_path / "a.wav", 60 * HOP)
    if damage == "gone":
        utterance.path.unlink()
    elif damage == "garbled":
        utterance.path.write_bytes(b"no audio")
    else:
        write(utterance.path, 50 * HOP)
    with pytest.raises(CorpusError, match=r"a\.wav cannot be read any more: .*`--ckpt_path last`"):
        cut(utterance, 40, 16)
    with pytest.raises(CorpusError, match=r"a\.wav cannot be read any more"):
        cut(utterance, 55, 5)


def sweep(gain_db: tuple[float, float], waveform: torch.Tensor) -> list[torch.Tensor]:
    augmentation = Augmentation(gain_db)
    return [augmentation(waveform, np.random.default_rng(seed)) for seed in range(300)]


def test_without_augmentation_a_segment_is_the_files_own_samples():
    waveform = torch.tensor([0.5, -1.0])
    assert Augmentation()(waveform, np.random.default_rng(0)) is waveform


def test_gains_are_uniform_in_decibels():
    made = torch.stack(sweep((-12.0, 6.0), torch.tensor([0.1, -0.02])))
    torch.testing.assert_close(made[:, 1], -0.2 * made[:, 0])
    decibels = 20 * (made[:, 0] / 0.1).log10()
    assert float(decibels.min()) >= -12.001
    assert float(decibels.max()) <= 6.001
    # 300 uniform gains over 18 dB: a mean of -3 ± 0.3 and a deviation of 5.2 ± 0.15, one standard error.
    assert float(decibels.mean()) == pytest.approx(-3, abs=1)
    assert float(decibels.std()) == pytest.approx(18 / 12**0.5, abs=0.5)


@pytest.mark.parametrize("peak", [0.3, 0.9, 0.9995, 1.0])
def test_no_gain_makes_a_sample_leave_the_range(peak):
    made = torch.stack(sweep((0.0, 20.0), torch.tensor([peak, -(2**-7)])))
    assert float(made.abs().max()) <= max(peak, 0.999) + 1e-6
    assert float(made[:, 1].abs().min()) >= 2**-7  # made louder, or left alone


def test_silence_has_no_loudest_sample():
    assert not torch.stack(sweep((0.0, 20.0), torch.zeros(4))).any()


def test_a_gain_goes_from_the_least_to_the_largest():
    with pytest.raises(ValueError, match=r"data\.gain_db is 3, -3\. Swap"):
        Augmentation((3, -3))


def responses(timbre_db: float, *, draws: int = 400) -> torch.Tensor:
    """Measure the response in dB (draws, bins) that an impulse gets."""
    augmentation, impulse = Augmentation(timbre_db=timbre_db), torch.zeros(2048)
    impulse[1024] = 0.1
    made = torch.stack([augmentation(impulse, np.random.default_rng(seed)) for seed in range(draws)])
    assert made.argmax(1).eq(1024).all(), "no phase, so no delay"
    torch.testing.assert_close(made[:, 1024 - 50 : 1024], made[:, 1025 : 1025 + 50].flip(1))  # and no phase at all
    return 20 * torch.fft.rfft(made).abs().log10()


def test_a_random_response_deviates_as_it_was_told():
    curves = responses(8.0)
    curves = curves - curves.mean(1, keepdim=True)
    # A deviation uniform up to 8 dB has a mean square of 64/3; between the points, of which two are averaged, less.
    assert 0.5 < float(curves.var()) / (64 / 3) < 1.1
    assert responses(0.0, draws=3).std() < 1e-3  # an impulse is flat


def test_a_random_response_keeps_the_power_and_the_range():
    noise = 0.3 * torch.randn(4000, generator=torch.Generator().manual_seed(1)).clamp(-3, 3)
    augmentation = Augmentation(timbre_db=8.0)
    for seed in range(100):
        made = augmentation(noise, np.random.default_rng(seed))
        assert float(made.abs().max()) <= 0.999 + 1e-6
        if float(made.abs().max()) < 0.998:
            torch.testing.assert_close(made.square().mean(), noise.square().mean(), rtol=1e-4, atol=0)
    assert not augmentation(torch.zeros(500), np.random.default_rng(0)).any()


@pytest.mark.parametrize("timbre_db", [-1.0, 21.0, float("nan")])
def test_a_random_response_deviates_by_a_few_decibels(timbre_db):
    with pytest.raises(ValueError, match=r"data\.timbre_db is .*8 has served well"):
        Augmentation(timbre_db=timbre_db)


@pytest.mark.parametrize("speed", [-0.1, 0.5, float("nan")])
def test_a_speed_changes_by_a_share(speed):
    with pytest.raises(ValueError, match=r"data\.speed is .*0 turns it off"):
        Augmentation(speed=speed)


@pytest.mark.parametrize("file_rate", [8000, 11025])
def test_a_change_of_speed_changes_pitch_and_length_alike_and_goes_through_to_the_end(tmp_path, file_rate):
    """Of a sine of 1 kHz: slower by 10 % it has 900 Hz, and the file has as many more frames."""
    cut = replace(module_and_cut()[1], sample_rate=8000, margin=(0, 0))
    time = np.arange(2 * file_rate) / file_rate
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 1000 * time), file_rate, subtype="FLOAT")
    utterance = Utterance("a", tmp_path / "a.wav", samples=16000)
    heard = set()
    for seed in range(40):
        random = np.random.default_rng(seed)
        slow, other = Augmentation(speed=0.1).change_speed(cut, utterance, random)
        frames = slow.frames(other)
        item = slow(other, 0, frames)
        assert item["mask"].all()
        waveform = item["waveform"][: frames * HOP].numpy()
        assert float(waveform[-200:].std()) > 0.3  # the sine goes on to the last sample
        hertz = float(np.diff(np.signbit(waveform[400:-400])).sum()) / 2 / ((len(waveform) - 800) / 8000)
        assert hertz == pytest.approx(1000 * 16000 / len(waveform), rel=0.005)
        heard.add(round(hertz / 20))
    assert min(heard) <= 46
    assert max(heard) >= 55
    assert len(heard) >= 9  # of eleven speeds


@pytest.mark.parametrize("file_rate", [7999, 8000, 11025])
def test_at_no_speed_is_more_read_than_a_file_has(tmp_path, file_rate):
    """Of lengths of every remainder, with a start within the file as a manifest gives it."""
    cut = replace(module_and_cut()[1], sample_rate=8000)
    for samples in range(2000, 2040):
        soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(samples), file_rate)
        length = -(-samples * 8000 // file_rate)
        for seed, start in itertools.product(range(0, 12, 3), (0, 701)):
            utterance = Utterance("a", tmp_path / "a.wav", samples=length - start, start=start)
            at_speed, other = Augmentation(speed=0.3).change_speed(cut, utterance, np.random.default_rng(seed))
            at_speed(other, at_speed.frames(other) - 1, 1)  # raises where the file ends before


def test_an_augmented_segment_is_a_function_of_seed_and_index_and_cut_as_without(tmp_path):
    _, cut = module_and_cut()
    corpus = [write(tmp_path / f"{n}.wav", 60 * HOP) for n in range(3)]
    plain = RandomSegments(corpus, cut, frames=4, seed=3)
    varied = [RandomSegments(corpus, cut, frames=4, seed=3, augmentation=Augmentation((-20.0, 0.0))) for _ in range(2)]
    for index in (5, 2, 9):
        one, other = (segments[index]["waveform"] for segments in varied)
        assert torch.equal(one, other)
        whole = plain[index]["waveform"]
        torch.testing.assert_close(one, whole * (one[0] / whole[0]))
        assert not torch.equal(one, whole)


def test_each_segment_has_a_seed_of_its_own(tmp_path):
    _, cut = module_and_cut()
    segments = RandomSegments([write(tmp_path / "a.wav", 60 * HOP)], cut, frames=4, seed=0)
    seeds = [int(segments[index]["seed"]) for index in range(50)]
    assert len(set(seeds)) == 50
    assert [int(segments[index]["seed"]) for index in range(50)] == seeds


@pytest.mark.parametrize(("balance", "shares"), [(1.0, (0.1, 0.9)), (0.5, (0.25, 0.75)), (0.0, (0.5, 0.5))])
def test_a_corpus_comes_up_in_proportion_to_a_power_of_its_time(balance, shares):
    """A tenth of the time by itself, a quarter by its root, half if all are alike; within a corpus by length."""
    lengths = {"small": (40, 60), "large": (300, 600)}
    corpus = [Utterance(f"{name}/{n}", Path("unread"), n * HOP, name) for name in lengths for n in lengths[name]]
    segments = RandomSegments(corpus, SegmentCutter(HOP, (0, 0)), frames=4, seed=0, balance=balance)
    drawn = np.diff(segments.cumulative, prepend=0)
    assert drawn[:2].sum() == pytest.approx(shares[0])
    assert drawn[2:].sum() == pytest.approx(shares[1])
    assert drawn[1] / drawn[0] == pytest.approx(1.5)
    assert drawn[3] / drawn[2] == pytest.approx(2)
