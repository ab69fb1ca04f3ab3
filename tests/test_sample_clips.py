"""What is heard at validation is the loudest stretch, made freely from silence, and measured as evaluations measure."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import soundfile
import torch

from conftest import tiny_config, tiny_network, voice

pytest.importorskip("lightning")
from runs import make_corpus, recipe, vocoder
from vocoder.config import MelConfig
from vocoder.engines.noise import draw_noise
from vocoder.engines.reference import ReferenceEngine
from vocoder.evaluation.measures.analysis import Analysis, Undefined
from vocoder.training import sample_clips
from vocoder.training.module import VocoderModule
from vocoder.training.sample_clips import (
    METERS,
    SampleClips,
    draw_clips,
    generate,
    loudest_clip,
    measure,
    teacher_forced,
)

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]


def module() -> VocoderModule:
    config = tiny_config()
    made = VocoderModule(config.mel, config.network).eval()
    made.network.load_state_dict(tiny_network(config).state_dict())
    return made


def batch_of(model: VocoderModule, frames: int, loud: int = 0) -> dict[str, torch.Tensor]:
    """Noise of so many frames, loud in four of them."""
    waveform = 0.01 * torch.randn(1, sum(model.margin) + frames * 16)
    begin = model.margin[0] + loud * 16
    waveform[:, begin : begin + 64] *= 30
    mask = torch.ones(1, frames * 16, dtype=torch.bool)
    return {"waveform": waveform, "mask": mask, "span": torch.tensor([[0, frames]])}


@torch.no_grad()
def test_the_loudest_stretch_is_cut_out_of_recording_and_conditioning_alike():
    model = module()
    batch = batch_of(model, 60, loud=40)
    clip = loudest_clip(model, batch, 10)
    assert 34 <= clip.start <= 40
    stretch = slice(clip.start * 16, (clip.start + 10) * 16)
    assert torch.equal(clip.original, model.target(batch)[0][0, stretch])
    whole = model.condition(batch)
    assert torch.equal(clip.conditioning.scale, whole.scale[:, clip.start : clip.start + 10])
    assert len(teacher_forced(model, batch, clip)) == 160


@torch.no_grad()
def test_clips_are_made_as_the_reference_makes_each_from_silence():
    model = module()
    conditioning = [loudest_clip(model, batch_of(model, 30, loud), 4).conditioning for loud in (3, 20)]
    made = generate(model.network, conditioning)
    engine = ReferenceEngine(model.network)
    for index, part in enumerate(conditioning):
        noise = draw_noise(model.network.distribution, 0, [index], 0, 64)
        expected = engine.generate(part, noise, engine.initial_state(1))
        # Products of eight bits drift from it sample by sample.
        torch.testing.assert_close(made[index, :16], expected[0, :16], rtol=0, atol=0.02)
    assert made.shape == (2, 64)


def test_a_perfect_copy_is_at_no_distance():
    waveform = voice(150.0, 26_000, slope=1.0)
    values = measure([Analysis(waveform[0], MelConfig())], waveform)
    expected = {name: 0.0 for name in METERS if name != "val/pesq"}
    if "val/pesq" in values:
        expected["val/pesq"] = 4.64
    assert values == pytest.approx(expected, abs=0.01)


def test_a_measure_is_left_out_where_its_package_is_missing(without_package, forget):
    forget("vocoder.evaluation.measures.perceptual")
    without_package("torchmetrics")
    waveform = voice(150.0, 8000, slope=1.0)
    assert measure([Analysis(waveform[0], MelConfig())], waveform).keys() == METERS.keys() - {"val/pesq"}


def test_what_is_undefined_for_one_clip_is_the_mean_of_the_others(monkeypatch):
    def odd(original: Analysis, copy: Analysis) -> float:
        if float(copy.waveform[0]) == 0:
            raise Undefined("zero")
        return float(copy.waveform[0])

    def never(original: Analysis, copy: Analysis) -> float:
        raise Undefined("never")

    monkeypatch.setattr(sample_clips, "METERS", {"odd": odd, "never": never})
    originals = [Analysis(torch.zeros(4), MelConfig())] * 3
    assert measure(originals, torch.tensor([[1.0], [0.0], [3.0]])) == {"odd": 2.0}


def test_utterances_shorter_than_a_clip_are_left_out(tmp_path, monkeypatch):
    model, logged, made = module(), {}, []
    monkeypatch.setattr(sample_clips, "METERS", {"clips": lambda original, copy: float(len(original.waveform))})
    monkeypatch.setattr(
        sample_clips, "generate", lambda network, some: made.append(len(some)) or torch.rand(len(some), 480)
    )
    monkeypatch.setattr(model, "log", lambda name, value, **options: logged.update({name: value}))
    trainer = SimpleNamespace(global_step=7, sanity_checking=False, loggers=[])
    callback = SampleClips(tmp_path / "samples", 30, 3)
    for _ in range(2):
        callback.on_validation_epoch_start(trainer, model)
        for index, frames in enumerate((10, 40, 50, 60)):
            callback.on_validation_batch_end(trainer, model, None, batch_of(model, frames), index)
        callback.on_validation_epoch_end(trainer, model)
    assert made == [2, 2]  # the second and the third; a fourth was not asked for
    assert logged == {"clips": 480.0}
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {
        "0000007-original.wav",
        "0000007-generated.wav",
        "0000007.png",
    }


def test_the_best_by_pesq_is_kept_beside_the_best_by_likelihood(tmp_path, monkeypatch):
    values = iter([1.5, 3.25, 2.0])
    monkeypatch.setattr(
        sample_clips, "measure", lambda originals, copies: {"val/pesq": next(values), "val/log_mel_distance": 1.0}
    )
    make_corpus(tmp_path / "corpus")
    config = tiny_config()
    written = recipe(tmp_path, config.mel, config.network, max_steps=6, val_check_interval=2)
    written["run"] |= {"clip_frames": 4, "clips": 1}
    vocoder("fit", written)
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert [name.split("-")[0] for name in names] == ["best", "best", "last.ckpt"]
    assert names[1] == "best-pesq-4-3.250.ckpt"
    assert soundfile.info(tmp_path / "run" / "samples" / "0000006-generated.wav").frames == 64


def test_a_picture_shows_clips_too_short_for_a_mel():
    figure = draw_clips({"original": torch.zeros(16), "generated": torch.rand(16)}, module())
    assert [axis.get_title("left") for axis in figure.axes[:2]] == ["original", "generated"]
