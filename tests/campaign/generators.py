"""What the campaign throws at the package: each generator draws a case and judges what comes of it.

A case must end in an error that says something, of the kinds that the command line shows as a sentence, or in what was
asked for: finite samples in [-1, 1] of the right number. All else is a finding, and so is a case that takes long.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import soundfile
import torch
from torch import Tensor

from campaign import damage
from campaign.corpora import GivenMels, Layouts, Manifests, Predictions
from campaign.damage import Rng, pick
from campaign.judge import Generator, counts, judge_waveform, refused, require
from campaign.voices import Conversations, Periods, Speakers
from conftest import on_engine, speech_like_mel, tiny_config, tiny_mel_config, tiny_network
from vocoder.bundles.bundle import CONFIG_FILE, WEIGHTS_FILE, load_bundle, load_checkpoint, save_bundle
from vocoder.config import to_dict
from vocoder.engines import NativeEngine
from vocoder.engines.cpu.library import instruction_sets
from vocoder.inference.vocoder import Vocoder


class Mels(Generator):
    """Any numbers in any shape, as a mel; every law, engine, precision and instruction set."""

    share = 4.0

    def case(self, rng: Rng) -> None:
        model = self.models[pick(rng, list(self.models))]
        mel, frames = self.draw(rng, model)
        os.environ["VOCODER_ISA"] = pick(rng, instruction_sets())
        native = rng.random() < 0.97
        precision = pick(rng, NativeEngine.precisions) if native else "auto"
        model = on_engine(model, "native" if native else "torch", precision=precision, threads=int(rng.integers(1, 3)))
        options = {
            "temperature": float(pick(rng, (1.0, 0.5, 1e-30, 1e30, 2.0))),
            "seed": int(rng.integers(2**62)),
            "speaker": int(rng.integers(2)) if model.config.network.num_speakers else None,
        }
        way = int(rng.integers(3))
        if way == 0:
            made = refused(lambda: model.infer(mel, **options))
        elif way == 1:
            made = refused(lambda: next(iter(model.infer_many([mel, mel], **options))))
        else:
            made = refused(lambda: self.stream(model, mel, rng, options))
        if made is not None:
            judge_waveform(made, model, frames)

    @staticmethod
    def stream(model: Vocoder, mel: Any, rng: Rng, options: dict[str, Any]) -> Tensor:
        stream, cut = model.stream(**options), int(rng.integers(6))
        return torch.cat([stream.push(mel[..., :cut]), stream.push(mel[..., cut:]), stream.flush()])

    @staticmethod
    def draw(rng: Rng, model: Vocoder) -> tuple[Any, int]:
        low, high = model.mel.value_range
        frames = int(rng.integers(1, 8))
        shape = (model.mel.n_mels, frames)
        if rng.random() < 0.1:
            shape = pick(rng, ((frames, model.mel.n_mels), (0, 0), (model.mel.n_mels, 0), (8,), (1, 1, *shape), (8, 8)))
        width = pick(rng, (0.0, 0.5, 1.0, 1.0, 1.0, 1.9, 3.0, 1e3, 1e30))
        mel = (low + high) / 2 + (high - low) / 2 * width * rng.uniform(-1, 1, shape)
        with np.errstate(all="ignore"):
            mel = mel.astype(pick(rng, ("f4", "f4", "f8", ">f4", "f2", "i4")), order=pick(rng, "CF"))
        if rng.random() < 0.1 and mel.size and mel.dtype.kind == "f":
            mel.flat[int(rng.integers(mel.size))] = pick(rng, (np.nan, np.inf, -np.inf, np.finfo(mel.dtype).max, 0.0))
        if rng.random() < 0.1:
            mel = mel[..., ::-1]
        if rng.random() < 0.5 and mel.dtype.isnative:
            mel = torch.from_numpy(mel.copy())
        return mel, shape[-1]


class Configs(Generator):
    """A bundle's `config.json`, changed in some places."""

    share = 2.0

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.values = []
        for name, model in self.models.items():
            save_bundle(folder / name, model.config, model.network, {"steps": 3})
            self.values.append((folder / name, json.loads((folder / name / CONFIG_FILE).read_text())))

    def case(self, rng: Rng) -> None:
        place, values = pick(rng, self.values)
        (place / CONFIG_FILE).write_text(json.dumps(damage.tree(rng, values)))
        bundle = refused(lambda: load_bundle(place))
        if bundle is not None:
            self.speak(Vocoder(bundle.config, bundle.network), rng)


class Weights(Generator):
    """Weights of any size, sign and type, in their places or not."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.places = []
        for name, model in self.models.items():
            save_bundle(folder / name, model.config, model.network)
            self.places.append((folder / name, model.network.state_dict()))

    def case(self, rng: Rng) -> None:
        place, state = pick(rng, self.places)
        state = {name: weight.clone() for name, weight in state.items()}
        for _ in range(int(rng.integers(1, 4))):
            name = pick(rng, list(state))
            factor = pick(rng, (0.0, -1.0, 1e2, 1e10, 1e30, 1e38, 1e-40))
            chance = rng.random()
            if chance < 0.7 and state[name].is_floating_point():
                state[name] *= factor
            elif chance < 0.8 and state[name].numel() and state[name].is_floating_point():
                state[name].view(-1)[0] = pick(rng, (np.nan, np.inf))
            elif chance < 0.9:
                state[name] = state[name].to(pick(rng, (torch.float16, torch.float64, torch.bfloat16, torch.int8)))
            else:
                state[name] = pick(rng, (state[name][:1], state[name].reshape(-1), torch.zeros(0))).clone()
        safetensors.torch.save_file(state, place / WEIGHTS_FILE)
        bundle = refused(lambda: load_bundle(place))
        if bundle is not None:
            self.speak(Vocoder(bundle.config, bundle.network), rng)


class Bundles(Generator):
    """The bytes of a bundle's two files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        model = self.models["eight a step"]
        save_bundle(folder / "bundle", model.config, model.network)
        self.whole = {name: (folder / "bundle" / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE)}

    def case(self, rng: Rng) -> None:
        for name, data in self.whole.items():
            (self.folder / "bundle" / name).write_bytes(damage.content(rng, data) if rng.random() < 0.6 else data)
        bundle = refused(lambda: load_bundle(self.folder / "bundle"))
        if bundle is not None:
            self.speak(Vocoder(bundle.config, bundle.network), rng)


class Checkpoints(Generator):
    """A checkpoint: its bytes, its entries, and tensors that are none."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        model = self.models["eight a step"]
        state = {f"network.{name}": weight for name, weight in model.network.state_dict().items()}
        values = {"mel": to_dict(model.config.mel), "network": to_dict(model.config.network)}
        self.entries = {"format_version": 2, "hyper_parameters": values, "state_dict": state, "global_step": 3}
        torch.save(self.entries, folder / "whole.ckpt")
        self.whole = (folder / "whole.ckpt").read_bytes()

    def case(self, rng: Rng) -> None:
        path = self.folder / "a.ckpt"
        if rng.random() < 0.6:
            path.write_bytes(damage.content(rng, self.whole))
        else:
            torch.save(self.spoil(rng), path)
        bundle = refused(lambda: load_checkpoint(path))
        if bundle is not None:
            self.speak(Vocoder(bundle.config, bundle.network), rng)

    def spoil(self, rng: Rng) -> Any:
        entries: dict[str, Any] = {**self.entries, "state_dict": dict(self.entries["state_dict"])}  # type: ignore[call-overload]
        if rng.random() < 0.5:
            name = pick(rng, list(entries["state_dict"]))
            shape = entries["state_dict"][name].shape
            entries["state_dict"][name] = pick(rng, (
                torch.zeros(1).expand(shape), torch.zeros(1).expand(10**8, 10**8), torch.empty(shape, device="meta"),
                [0.0], None, torch.zeros(shape, dtype=torch.complex64), torch.full(shape, float("nan")), "x",
                torch.zeros(shape).requires_grad_(), torch.zeros(()),
            ))  # fmt: skip
        elif rng.random() < 0.8:
            entries["hyper_parameters"] = damage.tree(rng, entries["hyper_parameters"])
        else:
            entries[pick(rng, list(entries))] = damage.value(rng)
        return entries


class Arrays(Generator):
    """Files of mels: `.npy`, `.npz`, `.pt`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        mel = speech_like_mel(tiny_mel_config(), 5)[0]
        self.whole = []
        for dtype in ("<f4", ">f4", "<f8", "<f2"):
            for save, suffix in ((np.save, ".npy"), (np.savez, ".npz"), (np.savez_compressed, ".npz")):
                save(folder / f"a{suffix}", mel.numpy().astype(dtype))
                self.whole.append((suffix, (folder / f"a{suffix}").read_bytes()))
        torch.save(mel, folder / "a.pt")
        self.whole.append((".pt", (folder / "a.pt").read_bytes()))

    def case(self, rng: Rng) -> None:
        from vocoder.cli.inputs import read_mel

        suffix, data = pick(rng, self.whole)
        path = self.folder / f"b{suffix}"
        path.write_bytes(damage.content(rng, data))
        mel = refused(lambda: read_mel(path, tiny_mel_config()))
        require(mel is None or bool(mel.isfinite().all()), "a mel that is not finite")


class Audio(Generator):
    """Recordings: wav, flac, aiff, au, ogg, whose bytes, rates, channels and scales are any."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        samples = 0.1 * np.random.default_rng(0).standard_normal((400, 2))
        self.whole = []
        for kind, subtype in (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("AIFF", "PCM_24"),
                              ("AU", "FLOAT"), ("OGG", "VORBIS"), ("CAF", "PCM_16")):  # fmt: skip
            file = io.BytesIO()
            soundfile.write(file, samples, 8000, format=kind, subtype=subtype)
            self.whole.append((kind.lower(), file.getvalue()))

    def case(self, rng: Rng) -> None:
        from vocoder.features.audio import LOUDEST_PEAK, load_audio

        kind, data = pick(rng, self.whole)
        path = self.folder / f"a.{kind}"
        if rng.random() < 0.8:
            path.write_bytes(damage.content(rng, data))
        else:
            scale = pick(rng, (0.0, 1.0, 3.9, 4.1, 32768.0, 1e30))
            rate = int(pick(rng, (1, 999, 1000, 7999, 8000, 22_051, 44_100, 192_000, 655_350, 10**6, 10**7, 2**31 - 1)))
            soundfile.write(path, scale * rng.uniform(-1, 1, (50, 1)), rate, format="WAV", subtype="FLOAT")
        waveform = refused(lambda: load_audio(path, 8000))
        if waveform is not None:
            require(bool(waveform.isfinite().all()), "samples that are not finite")
            require(float(waveform.abs().max()) < 2 * LOUDEST_PEAK, f"a peak of {float(waveform.abs().max())}")


class Tables(Generator):
    """What people write: a corpus' `metadata.csv`, listeners' answers, statistics as JSON."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "wavs").mkdir(exist_ok=True)
        for name in "ab":
            soundfile.write(folder / "wavs" / f"{name}.wav", np.zeros(10), 8000)
        self.rows = ["a|one|two", "b|three", "../c|x|y", "/etc/passwd|x|y", "a|again", "|", "é|ü|ö"]
        self.answers = ["test,mode,listener,stimulus,a,b,answer", "t,mos,anna,c1,,,5", "t,mushra,anna,c1,,,101",
                        't,abx,"anna,b",c1,c1,c2,a', "t,mos,,c9,,,nan", 't,mos,"x\n,c1,,,3']  # fmt: skip

    def case(self, rng: Rng) -> None:
        from vocoder.data.layouts import read_corpus, read_transcripts
        from vocoder.evaluation.listening.answers import Key, read_answers
        from vocoder.features.statistics import with_statistics

        which = int(rng.integers(3))
        if which == 0:
            (self.folder / "metadata.csv").write_text(damage.text(rng, self.rows), encoding="utf-8", newline="")
            corpus = refused(lambda: read_corpus(self.folder)) or []
            refused(lambda: read_transcripts(self.folder, corpus))
            for utterance in corpus:
                inside = (self.folder / "wavs").resolve() in Path(utterance.path).resolve().parents
                require(inside, f"{utterance.id!r} lies outside, at {utterance.path}")
        elif which == 1:
            path = self.folder / "answers.csv"
            path.write_text(damage.text(rng, self.answers), encoding="utf-8", newline="")
            key = Key("t", ["original", "a"], {"c1": ("u", "original"), "c2": ("u", "a")})
            answers = refused(lambda: read_answers(key, [path]))
            for answer in answers.kept if answers else ():
                require(bool(np.isfinite(answer.value)), f"a rating of {answer.value}")
        else:
            stats = damage.tree(rng, {"mean": [0.0] * 8, "scale": [1.0] * 8})
            (self.folder / "stats.json").write_text(json.dumps(stats))
            refused(lambda: with_statistics(tiny_mel_config(), self.folder / "stats.json"))


class Requests(Generator):
    """What comes over HTTP: bodies of every kind, and options; answered by a running service."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from test_service import Limits, Running, Service, make_server

        service = Service(self.models["eight a step"], "tiny", Limits())
        self.running = Running(make_server(service, "127.0.0.1", 0), service)
        mel = speech_like_mel(tiny_mel_config(), 3)[0]
        npy = io.BytesIO()
        np.save(npy, mel.numpy())
        wav = io.BytesIO()
        soundfile.write(wav, 0.1 * np.ones(300), 8000, format="WAV")
        self.bodies = [
            ("/v1/synthesize", "application/x-npy", npy.getvalue()),
            ("/v1/synthesize", "application/x-safetensors", safetensors.torch.save({"mel": mel})),
            ("/v1/synthesize", "application/json", json.dumps(mel.tolist()).encode()),
            ("/v1/mel", "audio/wav", wav.getvalue()),
        ]

    def case(self, rng: Rng) -> None:
        from urllib.parse import urlencode

        path, kind, body = pick(rng, self.bodies)
        names = ("seed", "temperature", "format", "speaker", "dialect", "fold", "bits", "x", "correction_passes")
        query = {pick(rng, names): damage.value(rng) for _ in range(int(rng.integers(3)))}
        kind = kind if rng.random() < 0.95 else pick(rng, ("text/plain", "audio/wav", "application/x-npy", ""))
        body = damage.content(rng, body) if rng.random() < 0.7 else body
        answer = self.running.ask(pick(rng, ("POST",) * 9 + ("PUT",)), f"{path}?{urlencode(query)}"[:4000], body, kind)
        require(answer.status < 500, f"status {answer.status}: {answer.body[:200]!r}")
        counts["taken"] += answer.status < 400
        if answer.status >= 400:
            require(b"error" in answer.body or answer.status == 405, f"no word: {answer.body[:200]!r}")

    def close(self) -> None:
        """End the service."""
        self.running.server.should_exit = True
        self.running.thread.join(20)


class Engines(Generator):
    """Networks of any small shape, generated by the compiled engine: for a build with sanitizers."""

    def case(self, rng: Rng) -> None:
        distribution = pick(rng, ("mixture_of_logistics", "gaussian", "mu_law_categorical"))
        plain = distribution == "mu_law_categorical" or rng.random() < 0.2
        step = 1 if plain else int(pick(rng, (1, 1, 2, 4, 8)))
        width = lambda: int(pick(rng, (1, 3, 8, 15, 16, 17, 33, 64, 70)))  # noqa: E731
        config = tiny_config(
            distribution, num_components=int(rng.integers(1, 5)), bits=int(rng.integers(2, 9)), samples_per_step=step,
            residual_channels=width(), gate_channels=2 * width(), skip_channels=width(), sample_channels=width(),
            conditioning_channels=width(), kernel_size=int(rng.integers(2, 5)), dilation_cycles=int(rng.integers(1, 4)),
            layers_per_cycle=int(rng.integers(1, 8)), upsampling_taps=int(pick(rng, (1, 3, 5))),
            num_speakers=int(rng.integers(3)), speaker_channels=width(),
            linear_prediction_order=0 if plain else int(rng.integers(1, 20)),
            recent_excitations=0 if plain else int(pick(rng, (0, 1, 8, 40))),
        )  # fmt: skip
        os.environ["VOCODER_ISA"] = pick(rng, instruction_sets())
        network, batch = tiny_network(config), int(pick(rng, (1, 1, 1, 2, 5, 17, 33)))
        engine = NativeEngine(network, pick(rng, NativeEngine.precisions), int(rng.integers(1, 3)))
        model = Vocoder(config, network)
        speakers = torch.zeros(batch, dtype=torch.long) if config.network.num_speakers else None
        with torch.no_grad():
            conditioning = network.condition(speech_like_mel(config.mel, 3, batch), speakers)
        noise = torch.randn(batch, 3 * network.hop_length, 2)
        noise[..., 0] = torch.rand(noise.shape[:2])
        state = engine.initial_state(batch)
        engine.restart(state, int(rng.integers(batch)))
        waveform = engine.generate(conditioning, noise, state)
        judge_waveform(waveform, model, 3)
        laws = engine.force(conditioning, waveform, state)
        require(bool(laws.isfinite().all()), "laws that are not finite")
        counts["taken"] += 1


GENERATORS: dict[str, type[Generator]] = {
    kind.__name__.lower(): kind
    for kind in (
        Mels, Periods, Speakers, Configs, Weights, Bundles, Checkpoints, Arrays, Audio, Tables, Manifests, Layouts,
        GivenMels, Predictions, Requests, Conversations, Engines,
    )
}  # fmt: skip
