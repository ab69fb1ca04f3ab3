"""`vocoder doctor` finds each fault that is planted, by its own name, and none in a voice that ships."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import vocoder as package
from conftest import tiny_config, tiny_mel_config, tiny_network

pytest.importorskip("librosa")
from vocoder.cli import main
from vocoder.evaluation import voice_health as voices
from vocoder.evaluation.voice_health import Finding, Yardstick, check_voice
from vocoder.inference.vocoder import Vocoder

pytest.importorskip("lightning")
from runs import make_corpus, recipe, vocoder
from vocoder.training import run_health as runs
from vocoder.training.run_health import Probe, check_run, probe_step

# Lightning 2.6 calls jsonargparse and torch by names that these announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:DeprecationWarning"),
]


def verdicts(findings: list[Finding]) -> dict[str, str]:
    return {finding.yardstick.name: finding.verdict for finding in findings}


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(-9.0, "good"), (1.0, "good"), (1.01, "suspicious"), (5.0, "suspicious"), (5.1, "bad"), (float("nan"), "bad")],
)
def test_a_verdict_follows_from_the_yardstick_alone(value, verdict):
    assert Finding(Yardstick("x", "x", 1.0, 5.0, "x"), value).verdict == verdict


def test_the_voice_that_ships_is_healthy():
    found = verdicts(check_voice(Vocoder.from_pretrained("universal"), [package.example().waveform]))
    assert set(found.values()) == {"good"}
    assert len(found) == 6


def recording() -> Tensor:
    """Three seconds at 8 kHz: a loud hum, and a pause of hiss."""
    time = torch.arange(24_000) / 8000
    hum = 0.3 * torch.sin(2 * torch.pi * 200 * time) * (time < 2.5)
    return hum + 1e-3 * torch.randn(24_000)


def with_noise_in_the_pause(waveform: Tensor) -> Tensor:
    return waveform + 0.01 * torch.randn(len(waveform)) * (torch.arange(len(waveform)) > 20_000)


def with_bursts(waveform: Tensor) -> Tensor:
    """Two of 20 ms."""
    made = waveform.clone()
    for place in (6000, 12_000):
        made[place : place + 160] += 0.3 * torch.randn(160)
    return made


def with_clipping(waveform: Tensor) -> Tensor:
    return torch.where(waveform > 0.29, torch.ones(()), waveform)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda waveform: waveform, {}),
        (with_noise_in_the_pause, {"noise floor": "bad"}),
        (with_bursts, {"bursts": "bad"}),
        (with_clipping, {"clipping": "bad"}),
    ],
)
def test_each_fault_of_a_copy_is_found_by_its_name(monkeypatch, spoil, found):
    given, config = recording(), tiny_config()
    monkeypatch.setattr(Vocoder, "infer", lambda self, mel, **_: spoil(given))
    said = verdicts(check_voice(Vocoder(config, tiny_network(config)), [given]))
    names = ("noise floor", "clipping") if "clipping" in found else ("noise floor", "bursts", "clipping")
    assert {name: said[name] for name in names if said[name] != "good"} == found


def test_a_network_that_knows_nothing_is_told_by_its_likelihood():
    config = tiny_config()
    assert verdicts(check_voice(Vocoder(config, tiny_network(config)), [recording()]))["likelihood"] == "bad"


def test_a_law_at_its_floor_is_found():
    config = tiny_config("gaussian", num_components=1)
    network = tiny_network(config)
    with torch.no_grad():
        network.output_2.bias[-1] = -100.0  # the log-scale's
        network.output_2.weight[-1] = 0.0
    (share,) = [f for f in check_voice(Vocoder(config, network), [recording()]) if f.yardstick is voices.SCALE_FLOOR]
    assert (share.value, share.verdict) == (100.0, "bad")


def test_a_law_without_a_scale_has_no_floor():
    config = tiny_config("mu_law_categorical")
    assert "scale floor" not in verdicts(check_voice(Vocoder(config, tiny_network(config)), [recording()]))


def test_each_recording_is_looked_at_in_its_speaker_s_voice():
    config = replace(tiny_config(num_speakers=2), speakers=("anna", "bob"))
    voice, given = Vocoder(config, tiny_network(config)), recording()
    with torch.no_grad():
        voice.network.speaker_embedding.weight.copy_(torch.tensor([[0.0], [3.0]]).expand(-1, 4))

    def likelihood(*speakers: str) -> float:
        findings = check_voice(voice, [given] * len(speakers), speakers)
        return next(one.value for one in findings if one.yardstick is voices.LIKELIHOOD)

    anna, bob, both = likelihood("anna"), likelihood("bob"), likelihood("anna", "bob")
    assert abs(anna - bob) > 0.01
    assert both == pytest.approx((anna + bob) / 2, abs=1e-3)
    with pytest.raises(ValueError, match=r"but none was given\. Pass, for example, speaker='anna'"):
        check_voice(voice, [given])


def tiny_recipe(root: Path) -> dict[str, Any]:
    config = tiny_config(dilation_cycles=1, mel=tiny_mel_config())
    return recipe(root, config.mel, config.network, max_steps=4, val_check_interval=2, log_every_n_steps=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run's folder."""
    root = tmp_path_factory.mktemp("run")
    make_corpus(root / "corpus")
    vocoder("fit", tiny_recipe(root))
    return root / "run"


@pytest.mark.parametrize(("reachable", "verdict"), [(1.0, "good"), (2.0, "suspicious"), (10.0, "bad")])
def test_a_run_s_speed_is_held_against_a_quiet_core_s(run, monkeypatch, reachable, verdict):
    """So many times the run's."""
    speeds = runs.join_logs(runs.read_logs(run / "metrics" / "version_0" / "metrics.csv"))["train/samples_per_second"]
    median = sorted(speeds.values())[len(speeds) // 2 - 1 : len(speeds) // 2 + 1]
    monkeypatch.setattr(runs, "probe_step", lambda recipe: Probe(reachable * sum(median) / 2, 0.2))
    said = verdicts(check_run(run))
    assert (said["throughput"], said["other work"], said["skipped steps"]) == (verdict, "suspicious", "good")


def test_a_curve_that_has_left_its_best_and_steps_left_out_are_found():
    log = {"val/nll_bits": {3: 7.0, 7: 6.5, 11: 6.55}, "train/skipped_steps": {9: 0.0, 19: 1.0}}
    (curve,), (skipped,) = runs._check_curve(log), runs._check_skipped(log)
    assert curve.value == pytest.approx(0.05)
    assert skipped.value == pytest.approx(5.0)  # one of twenty
    assert (curve.verdict, skipped.verdict) == ("suspicious", "bad")
    assert runs._check_curve({}) == runs._check_skipped({}) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_other_work_on_the_core_is_noticed(tmp_path, monkeypatch):
    """Two that want the same core get half of it each, at most."""
    monkeypatch.setattr(runs, "PROBE_SECONDS", 1.0)
    values, before = tiny_recipe(tmp_path), os.sched_getaffinity(0)
    settings = {**values, "model": {**values["model"], "past_noise": None}}
    settings["trainer"] = {**values["trainer"], "accumulate_grad_batches": 2}
    core = min(before)
    spin = f"import os; os.sched_setaffinity(0, {{{core}}})\nprint(flush=True)\nwhile True: pass"
    other = subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()  # it has begun
        os.sched_setaffinity(0, {core})
        probe = probe_step(settings)
    finally:
        os.sched_setaffinity(0, before)
        other.kill()
        other.communicate()
    assert probe.waited > 0.3
    assert probe.samples_per_second > 0


def test_a_run_is_looked_at_by_its_own_corpus_in_one_command(run, monkeypatch, capsys):
    monkeypatch.setattr(runs, "probe_step", lambda recipe: Probe(1.0, 0.0))
    heard = []
    monkeypatch.setattr("vocoder.cli.doctor.load_audio", lambda path, rate: heard.append(path) or recording())
    assert main(["doctor", str(run)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split() == ["verdict", "of", "found", "good", "up", "to", "which", "is"]
    for name in ("likelihood", "noise floor", "bursts", "clipping", "scale floor", "throughput", "other work"):
        assert f"  {name} " in said
    assert "What to do: train longer" in " ".join(said.split())
    assert {path.parent for path in heard} == {run.parent / "corpus"}


def test_a_run_of_several_speakers_is_looked_at_by_each_of_its_corpora(tmp_path, monkeypatch, capsys):
    roots = [str(make_corpus(tmp_path / name, 4)) for name in ("anna", "bob")]
    values = tiny_recipe(tmp_path)
    values["data"] |= {"root": roots, "speakers": True}
    vocoder("fit", values)
    monkeypatch.setattr(runs, "probe_step", lambda recipe: Probe(1.0, 0.0))
    heard = []
    monkeypatch.setattr("vocoder.cli.doctor.load_audio", lambda path, rate: heard.append(path) or recording())
    assert main(["doctor", str(tmp_path / "run")]) == 0
    assert "likelihood" in capsys.readouterr().out
    assert {path.parent.name for path in heard} == {"anna", "bob"}


def test_a_run_without_a_checkpoint_says_so(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    assert main(["doctor", str(tmp_path)]) == 2
    assert "there is no" in capsys.readouterr().err
