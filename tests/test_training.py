"""Training lowers the likelihood's negative, keeps what inference needs, and says clearly what it cannot do."""

from __future__ import annotations

import csv
import math
from argparse import ArgumentError
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch

from conftest import tiny_config

pytest.importorskip("lightning")
from runs import Diary, make_corpus, recipe, vocoder
from vocoder.bundles.names import load_model
from vocoder.config import NetworkConfig
from vocoder.data.layouts import read_corpus
from vocoder.data.segments import RandomSegments, SegmentCutter, WholeUtterances
from vocoder.training import callbacks
from vocoder.training.callbacks import Throughput, WholeFiles
from vocoder.training.cli import take_weights
from vocoder.training.module import BY_MUON, VocoderModule, draw_past_noise

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]


def module(**changes) -> VocoderModule:
    config = tiny_config(**changes)
    noise = 0.2 if config.network.linear_prediction_order else 0.0
    return VocoderModule(config.mel, config.network, learning_rate=0.01, warmup_steps=5, past_noise=noise)


def trainer_of(steps: int) -> SimpleNamespace:
    return SimpleNamespace(max_steps=steps, precision="32-true")


def batch_for(model: VocoderModule, root: Path, size: int = 2) -> dict[str, torch.Tensor]:
    corpus = [type(u)(u.id, u.path, soundfile.info(u.path).frames) for u in read_corpus(make_corpus(root))]
    segments = RandomSegments(corpus, SegmentCutter(16, model.margin), frames=16, seed=0)
    items = [segments[index] for index in range(size)]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def optimise(model: VocoderModule, batch: dict[str, torch.Tensor], steps: int) -> list[float]:
    model.trainer = trainer_of(steps)
    optimizer, losses = model.configure_optimizers(), []
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    for _ in range(steps):
        loss = model.nll(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize(
    ("distribution", "order", "at_least"),
    [
        ("mixture_of_logistics", 16, 0.2),
        pytest.param("gaussian", 0, 0.2, marks=pytest.mark.slow),
        pytest.param("mu_law_categorical", 0, 0.5, marks=pytest.mark.slow),
    ],
)
def test_a_batch_is_learned_by_heart(tmp_path, distribution, order, at_least):
    """By so many nats per sample: the linear predictor knows much of it from the start."""
    model = module(distribution=distribution, linear_prediction_order=order)
    losses = optimise(model, batch_for(model, tmp_path, size=1), 40)
    assert losses[-1] < losses[0] - at_least


def test_a_uniform_softmax_costs_the_logarithm_of_its_levels(tmp_path):
    model = module(distribution="mu_law_categorical", bits=6)
    torch.nn.init.zeros_(model.network.output_2.weight)
    assert float(model.nll(batch_for(model, tmp_path)).detach()) == pytest.approx(math.log(64), abs=1e-4)


def test_each_voice_has_its_own_likelihood_once_it_learned_something(tmp_path):
    model = module(num_speakers=2)
    batch = batch_for(model, tmp_path)
    with torch.no_grad():
        model.network.output_2.weight.normal_(std=0.3)
    first, second = (float(model.nll({**batch, "speaker": torch.full((2,), n)}).detach()) for n in (0, 1))
    assert first != second


def test_a_fall_needs_an_end():
    model = module()
    model.trainer = trainer_of(-1)
    model.configure_optimizers()
    model.hparams["decay_steps"] = 5
    with pytest.raises(ValueError, match=r"decay_steps is 5 and trainer.max_steps -1\. Set `--trainer.max_steps`"):
        model.configure_optimizers()


def test_muon_steps_the_hidden_matrices_and_adamw_shrinks_no_bias_and_no_kernel():
    model = module(num_speakers=2)
    model.trainer = trainer_of(10)
    of = {}
    for group in model.configure_optimizers().param_groups:
        for name, p in model.network.named_parameters():
            if any(p is q for q in group["params"]):
                assert name not in of
                of[name] = (group["muon"], group["weight_decay"])
    assert of.keys() == {name for name, _ in model.network.named_parameters()}
    assert of["layers.0.W"] == of["layers.5.V"] == of["layers.2.residual.weight"] == of["skip.weight"] == (True, 0.01)
    assert of["input.weight"] == of["speaker_embedding.weight"] == (False, 0.01)
    assert all(how == (False, 0.0) for name, how in of.items() if name.endswith("bias") or name == "upsampling.kernel")
    assert not any(muon for name, (muon, _) in of.items() if name.startswith("context_net"))


def test_noise_needs_a_unit():
    config = tiny_config(linear_prediction_order=0)
    with pytest.raises(ValueError, match=r"past_noise is 0\.2 and .*order is 0\. Set `--model.past_noise 0`"):
        VocoderModule(config.mel, config.network, past_noise=0.2)
    assert VocoderModule(config.mel, config.network).hparams["past_noise"] == 0
    assert VocoderModule(tiny_config().mel, tiny_config().network).hparams["past_noise"] == 0.2


def test_muon_steps_parts_that_every_network_has():
    assert all(hasattr(VocoderModule(tiny_config().mel, tiny_config().network).network, part) for part in BY_MUON)


def test_the_network_reads_a_noisy_past_and_predicts_the_clean_sample(tmp_path, monkeypatch):
    """The noise is past_noise · level · scale, level uniform in [0, 1] for each segment."""
    model = module()
    batch = batch_for(model, tmp_path, size=40)
    (waveform, past), scale, heard, predicted = model.target(batch), model.condition(batch).scale, [], []
    forward, log_prob = model.network.forward, model.network.distribution.log_prob
    monkeypatch.setattr(model.network, "forward", lambda *given: heard.append(given) or forward(*given))
    monkeypatch.setattr(
        model.network.distribution, "log_prob", lambda *given: predicted.append(given[1]) or log_prob(*given)
    )
    with torch.no_grad():
        model.nll(batch, 0.5)
    seen, _, seen_past = heard[0]
    assert torch.equal(predicted[0], waveform)
    levels = ((seen - waveform) / scale.repeat_interleave(16, 1)).square().mean(1).sqrt() / 0.5
    # 256 samples tell a level to 4.4 % (one standard deviation); 40 uniform ones have a mean of 0.5 ± 0.046.
    assert ((levels > 0) & (levels < 1.2)).all()
    assert 0.35 < float(levels.mean()) < 0.65
    assert float(levels.std()) > 0.2
    before = ((seen_past - past) / scale[:, :1]).square().mean(1).sqrt() / 0.5
    assert torch.corrcoef(torch.stack([before, levels]))[0, 1] > 0.9  # 16 samples tell a level to 18 %


def test_a_segments_noise_is_its_own():
    seeds = torch.tensor([5, 2**62, 7])
    noise = draw_past_noise(seeds, 100, seeds.device)
    torch.randn(3)
    assert torch.equal(draw_past_noise(seeds[1:2], 100, seeds.device), noise[1:2])
    assert len({row.sum().item() for row in noise}) == 3


def test_validation_is_clean_and_training_is_not(tmp_path):
    model = module()
    batch, logged = batch_for(model, tmp_path), {}
    model.log = lambda name, value, **options: logged.update({name: float(value)})
    model.log_dict = lambda values, **options: None
    with torch.no_grad():
        clean, noisy = float(model.nll(batch)), float(model.training_step(batch, 0))
        model.validation_step(batch, 0)
        model.test_step(batch, 0)
    assert logged["val/nll"] == logged["test/nll"] == clean != noisy


def test_validation_weighs_each_sample_alike(tmp_path):
    model = module()
    logged = []
    model.log = lambda name, value, **options: logged.append((name, options["batch_size"]))
    corpus = [type(u)(u.id, u.path, soundfile.info(u.path).frames) for u in read_corpus(make_corpus(tmp_path))]
    for item in WholeUtterances(corpus[:2], SegmentCutter(16, model.margin), max_frames=1000):
        model.validation_step({name: value.unsqueeze(0) for name, value in item.items()}, 0)
    assert logged == [(name, frames * 16) for frames in (187, 212) for name in ("val/nll", "val/nll_bits")]


def test_speed_is_counted_between_log_lines_and_not_while_validating(monkeypatch):
    clock, logged = iter([0.0, 2.0, 2.0, 10.0, 12.0]), []  # step 1 begins, 2 ends, 3 begins; 4 begins and ends
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: next(clock))
    trainer = SimpleNamespace(world_size=2, log_every_n_steps=2, global_step=0)
    listener = SimpleNamespace(log=lambda name, value, **_: logged.append((name, value)))
    throughput, batch = Throughput(), {"mask": torch.ones(2, 50)}
    for step in range(1, 5):
        if step == 4:
            throughput.on_validation_start(trainer, listener)
        throughput.on_train_batch_start(trainer, listener, batch, step)
        trainer.global_step = step
        throughput.on_train_batch_end(trainer, listener, None, batch, step)
    # A step has 2 × 100 samples: two of them in 2 s, then, after the validation, one in 2 s.
    assert [speed for name, speed in logged if name == "train/samples_per_second"] == [200.0, 100.0]


def test_log_every_n_steps_may_be_zero():
    trainer = SimpleNamespace(world_size=1, log_every_n_steps=0, global_step=3)
    Throughput().on_train_batch_end(trainer, SimpleNamespace(), None, {"mask": torch.ones(1)}, 0)


def test_a_checkpoint_that_breaks_off_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, path)

    def broken(checkpoint, file):
        file.write(b"half a checkpoint")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="no space left"):
        WholeFiles().save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]  # on a full disk there is no room for half of one
    monkeypatch.undo()
    WholeFiles().save_checkpoint({"step": 3}, path)
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of 20 steps with sound, its folder."""
    root = tmp_path_factory.mktemp("finished")
    make_corpus(root / "corpus")
    config = tiny_config()
    values = recipe(root, config.mel, config.network, diary={"path": str(root / "diary")}, max_steps=22)
    values["run"]["clip_frames"] = 10
    vocoder("fit", values)
    return root


def checkpoint(root: Path, name: str = "last") -> dict:
    (path,) = (root / "run" / "checkpoints").glob(f"{name}*.ckpt")
    return torch.load(path, weights_only=True)


def read_metrics(root: Path, version: int) -> list[dict[str, str]]:
    text = (root / "run" / "metrics" / f"version_{version}" / "metrics.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def test_a_run_keeps_its_last_step_and_its_best(finished):
    assert checkpoint(finished)["global_step"] == 22  # though a checkpoint is due every five steps
    assert checkpoint(finished, "best")["global_step"] in (10, 20, 22)


def test_a_run_writes_its_numbers_down(finished):
    rows = read_metrics(finished, 0)
    steps = [int(row["step"]) for row in rows if row["train/nll_bits"]]
    assert steps == [2, 5, 8, 11, 14, 17, 20, 21]  # every three steps, and the last one
    for name in ("train/nll", "train/gradient_norm", "train/samples_per_second"):
        values = [float(row[name]) for row in rows if row[name] and row["step"] != "21"]
        assert len(values) == len(set(values)) == 7, name  # each its own, none left over from a step before
    validated = [int(row["step"]) for row in rows if row["val/nll_bits"]]
    assert validated == [9, 19, 21]  # every ten steps, and when the run ends
    assert {"lr-AdamW", "lr-Muon"} <= rows[0].keys()
    heard = [float(row["val/log_mel_distance"]) for row in rows if row["val/log_mel_distance"]]
    assert len(set(heard)) == 3


def test_a_run_lets_itself_be_heard_and_seen(finished):
    samples = finished / "run" / "samples"
    for step in (10, 20, 22):
        for name in ("original", "teacher-forced", "generated"):
            waveform, rate = soundfile.read(samples / f"{step:07d}-{name}.wav")
            assert (len(waveform), rate) == (160, 8000)
            assert waveform.std() > 0
        assert (samples / f"{step:07d}.png").stat().st_size > 10_000
    assert len(list(samples.iterdir())) == 12


def test_a_recipes_own_callbacks_join_ours(finished):
    assert len((finished / "diary").read_text().splitlines()) == 22


def test_a_checkpoint_loads_without_arguments_and_without_code(finished):
    model = VocoderModule.load_from_checkpoint(finished / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert model.mel_config == tiny_config().mel
    assert model.network.config == tiny_config().network
    for name, value in checkpoint(finished)["state_dict"].items():
        assert torch.equal(value, model.state_dict()[name])


def test_a_checkpoints_weights_are_the_average_and_the_current_ones_lie_beside(finished):
    saved = checkpoint(finished, "best")
    average, current = saved["state_dict"], saved["current_model_state"]
    assert average.keys() == current.keys()
    assert not torch.equal(average["network.skip.weight"], current["network.skip.weight"])
    assert int(saved["averaging_state"]["n_averaged"]) == saved["global_step"]


def test_validation_measures_the_averaged_weights(finished, capsys):
    """What validation said during the run is what the checkpoint's weights give afterwards."""
    (path,) = (finished / "run" / "checkpoints").glob("best*.ckpt")
    config = tiny_config()
    values = recipe(finished, config.mel, config.network)
    for command, stage in (("validate", "val"), ("test", "test")):
        vocoder(command, values, "--ckpt_path", str(path))
        assert f"{stage}/nll_bits" in capsys.readouterr().out
    best = min(float(row["val/nll_bits"]) for row in read_metrics(finished, 0) if row["val/nll_bits"])
    (again,) = (float(row["val/nll_bits"]) for row in read_metrics(finished, 1))
    assert again == pytest.approx(best, abs=1e-5)


def test_fine_tuning_begins_with_the_model_s_own_weights(finished, tmp_path):
    config, last = tiny_config(), next((finished / "run" / "checkpoints").glob("last*.ckpt"))
    make_corpus(tmp_path / "corpus")
    values = recipe(tmp_path, config.mel, config.network, max_steps=3)
    values["model"] |= {"learning_rate": 0.0, "muon_learning_rate": 0.0}
    vocoder("fit", values, "--run.start_from", str(last))
    begun = checkpoint(tmp_path)["state_dict"]
    for name, value in load_model(last).network.state_dict().items():
        torch.testing.assert_close(begun[f"network.{name}"], value)  # averaging alike weights rounds them


def test_a_model_of_another_shape_cannot_be_fine_tuned(finished):
    last = next((finished / "run" / "checkpoints").glob("last*.ckpt"))
    with pytest.raises(ValueError, match=r"network.skip_channels 12 instead of 20. Set these as it has them"):
        take_weights(module(skip_channels=20), str(last))


def test_any_weights_go_with_any_bound_of_unvoiced_laws(finished):
    last = next((finished / "run" / "checkpoints").glob("last*.ckpt"))
    bounded = module(unvoiced_reach=0.5)
    take_weights(bounded, str(last))
    assert bounded.network.config.unvoiced_reach == 0.5
    assert torch.equal(bounded.network.skip.weight, load_model(last).network.skip.weight)


def test_a_misspelled_key_is_named(tmp_path):
    config = tiny_config()
    values = recipe(tmp_path, config.mel, config.network)
    values["model"]["learning_rat"] = 1.0
    with pytest.raises(ArgumentError, match="learning_rat"):
        vocoder("fit", values)


def test_a_missing_corpus_stops_a_run_with_its_remedy(tmp_path):
    config = tiny_config()
    with pytest.raises(ValueError, match=r"none at .*corpus\. .*DATA=/path"):
        vocoder("fit", recipe(tmp_path, config.mel, config.network))


def test_a_file_lost_during_a_run_is_named(tmp_path):
    make_corpus(tmp_path / "corpus")
    config = tiny_config()
    (tmp_path / "gone").mkdir()

    class Losing(Diary):
        def on_train_batch_start(self, trainer, *_):
            for path in (tmp_path / "corpus").glob("*.wav"):
                path.rename(tmp_path / "gone" / path.name)

    values = recipe(tmp_path, config.mel, config.network)
    values["trainer"]["callbacks"] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Throughput, "on_train_batch_start", Losing.on_train_batch_start)
        with pytest.raises(ValueError, match=r"corpus/\d\.wav cannot be read any more"):
            vocoder("fit", values)


def test_the_defaults_of_a_network_are_the_ones_of_its_config():
    assert VocoderModule().network.config == NetworkConfig()
