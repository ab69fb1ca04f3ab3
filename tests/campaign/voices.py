"""What the campaign throws at a voice beside mels of its own: other periods, names of speakers, conversations."""

from __future__ import annotations

import json
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from campaign import damage
from campaign.damage import Rng, pick
from campaign.judge import Generator, counts, judge_waveform, refused, require
from conftest import speech_like_mel, tiny_config, tiny_mel_config, tiny_network
from vocoder.bundles.bundle import CONFIG_FILE, load_bundle, load_checkpoint, save_bundle
from vocoder.config import MelConfig, to_dict
from vocoder.features.conversion import compare, convert_mel
from vocoder.inference.vocoder import Vocoder


class Periods(Generator):
    """Mels of other dialects, converted: exactly, approximately, or not at all; of other periods most of them."""

    share = 2.0
    dialects = 100  # so that what was found out of a pair by synthetic speech, a second's work, is asked for again

    def case(self, rng: Rng) -> None:
        model = self.models[pick(rng, ("one a step", "eight a step", "mu-law", "corrected"))]
        source = self.draw(np.random.default_rng(int(rng.integers(self.dialects))))
        frames, approximate = int(rng.integers(1, 40)), rng.random() < 0.8
        mel = speech_like_mel(source, frames)[0]
        mel = mel if source.layout == "bands_first" else mel.T
        options: dict[str, Any] = {"dialect": source, "approximate": approximate, "seed": int(rng.integers(99))}
        str(compare(source, model.mel))
        made = refused(lambda: model.infer(mel, **options))
        streamed = refused(lambda: self.stream(model, mel, source, rng, options))
        converted = refused(lambda: convert_mel(mel, source, model.mel, approximate=approximate))
        require((made is None) == (streamed is None), "infer and stream do not agree on what they take")
        if made is None or converted is None:
            return
        step = Fraction(source.hop_length * model.sample_rate, source.sample_rate * model.hop_length)
        expected = max(1, int(frames * step + Fraction(1, 2)))  # of the model's frames: as last equally long
        judge_waveform(made, model, expected)
        require(torch.equal(made, streamed), "a stream gives other samples")
        require(converted.shape == (8, expected), f"{tuple(converted.shape)} instead of {expected} frames")
        require(bool(converted.isfinite().all()), "a mel that is not finite")

    @staticmethod
    def stream(model: Vocoder, mel: Any, source: MelConfig, rng: Rng, options: dict[str, Any]) -> Any:
        stream, axis = model.stream(**options), -1 if source.layout == "bands_first" else -2
        cuts = sorted(int(rng.integers(mel.shape[axis] + 1)) for _ in range(int(rng.integers(4))))
        return torch.cat([*(stream.push(part) for part in mel.tensor_split(cuts, dim=axis)), stream.flush()])

    @staticmethod
    def draw(rng: Rng) -> MelConfig:
        rate = int(pick(rng, (8000, 8000, 8000, 16_000, 7999, 11_025, 22_050, 48_000, 192_000, 1000)))
        n_fft = int(pick(rng, (16, 64, 64, 100, 256, 4)))
        changes: dict[str, Any] = {
            "sample_rate": rate,
            "n_fft": n_fft,
            "win_length": min(n_fft, int(pick(rng, (64, 16, 50, 4)))),
            "hop_length": int(pick(rng, (16, 16, 1, 8, 15, 17, 20, 32, 64, 160, 1000))),
            "n_mels": int(pick(rng, (8, 8, 8, 4, 20))),
            "f_max": float(pick(rng, (rate / 2, rate / 4))),
            "framing": pick(rng, ("half_hop", "centered")),
            "layout": pick(rng, ("bands_first", "frames_first")),
            "log": pick(rng, ("ln", "log10", "db")),
            "guard": pick(rng, ("clamp", "add")),
            "power": pick(rng, (1.0, 2.0)),
            "floor": float(pick(rng, (1e-5, 1e-10, 1e-2))),
            "mel_norm": pick(rng, ("slaney", "none")),
        }
        kept = rng.random(len(changes)) < 0.3
        changes = {name: value for (name, value), keep in zip(changes.items(), kept, strict=True) if keep}
        try:
            return tiny_mel_config(**({"f_max": changes.get("sample_rate", 8000) / 2} | changes))
        except ValueError:  # numbers that do not go together
            return Periods.draw(rng)


class Speakers(Generator):
    """Tables of speakers in bundles and checkpoints, and names that are asked for."""

    names = ("anna", "Anna", "bob", "é", "e\u0301", " ", "0", "1", "-1", "a\nb", "x" * 10_000, "../..", "\0", "p225")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        config = tiny_config(num_speakers=3, samples_per_step=2)
        self.network = tiny_network(config)
        self.config = config
        save_bundle(folder / "bundle", config, self.network)
        self.values = json.loads((folder / "bundle" / CONFIG_FILE).read_text())
        self.mel = speech_like_mel(config.mel, 2)[0]

    def case(self, rng: Rng) -> None:
        table: Any = [str(name) for name in rng.permutation(self.names)[: int(pick(rng, (0, 0, 2, 3, 3, 3, 3, 4)))]]
        table = damage.tree(rng, {"speakers": table}).get("speakers", ()) if rng.random() < 0.2 else table
        bundle = refused(lambda: self.load(table, rng))
        if bundle is None:
            return
        model = Vocoder(bundle.config, bundle.network)
        require(list(model.speakers) == list(table), f"{model.speakers} of {table}")
        asked = pick(rng, (*(model.speakers or range(3)), pick(rng, self.names)))
        asked = damage.value(rng) if rng.random() < 0.2 else asked
        refused(lambda: save_bundle(self.folder / "copy", *bundle))
        made = refused(lambda: model.infer(self.mel, speaker=asked))
        if made is not None:
            index = (
                model.speakers.index(asked) if isinstance(asked, str) and model.speakers else int(np.ravel(asked)[0])
            )
            expected = Vocoder(self.config, self.network).infer(self.mel, speaker=index)
            require(torch.equal(made, expected), f"{asked!r} is not the voice of row {index}")

    def load(self, table: Any, rng: Rng) -> Any:
        if rng.random() < 0.5:
            path = self.folder / "bundle" / CONFIG_FILE
            path.write_text(json.dumps({**self.values, "speakers": table}))
            return load_bundle(path.parent)
        state = {f"network.{name}": weight for name, weight in self.network.state_dict().items()}
        values = {"mel": to_dict(self.config.mel), "network": to_dict(self.config.network), "speakers": table}
        training: Any = {"steps": 3} if rng.random() < 0.8 else damage.value(rng)
        entries = {"format_version": 2, "hyper_parameters": values, "state_dict": state, "training": training}
        torch.save(entries, self.folder / "a.ckpt")
        return load_checkpoint(self.folder / "a.ckpt")


class Conversations(Generator):
    """Streams over a WebSocket: options, frames cut anywhere, words where none belong, clients that go away."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from test_service import Limits, Running, Service, make_server

        self.model = self.models["eight a step"]
        service = Service(self.model, "tiny", Limits(streams=64))
        self.running = Running(make_server(service, "127.0.0.1", 0), service)
        self.mel = speech_like_mel(tiny_mel_config(), 40)[0]
        self.data = self.mel.T.contiguous().numpy().astype("<f4").tobytes()

    def case(self, rng: Rng) -> None:
        from websockets.exceptions import ConnectionClosed

        options, messages = self.draw(rng)
        answers: list[Any] = []
        with self.running.connect() as client:
            with suppress(ConnectionClosed):  # refused before all was sent
                for message in (options, *messages):
                    client.send(message)
            if rng.random() < 0.1:
                return  # goes away, and leaves what was made
            with suppress(ConnectionClosed):
                while True:
                    answers.append(client.recv(timeout=20))
            code = client.protocol.close_code
        sound = b"".join(answer for answer in answers if isinstance(answer, bytes))
        words = [json.loads(answer) for answer in answers if isinstance(answer, str)]
        if code == 1000:
            counts["taken"] += 1
            self.judge(options, messages, sound)
        else:
            require(code in (1003, 1007, 1008, 1009), f"closed with {code} after {words}")
            require(code != 1008 or bool(words and words[-1].get("error")), f"no word before the end: {words}")
        require(self.running.ask("GET", "/healthz").status == 200, "the service is not well")

    def draw(self, rng: Rng) -> tuple[Any, list[Any]]:
        given: dict[str, Any] = {"seed": int(rng.integers(99))}
        names = ("seed", "temperature", "speaker", "dialect", "approximate", "voiced_temperature", "x", "format")
        if rng.random() < 0.4:
            given = {pick(rng, names): damage.value(rng) for _ in range(int(rng.integers(1, 3)))}
        options: Any = json.dumps(given)
        if rng.random() < 0.1:
            options = pick(rng, ("", "x", "[]", "null", b"{}", '"seed"', "[" * 5000, '{"seed": 1e999}', self.data[:64]))
        data = self.data[: 32 * int(rng.integers(40))]
        if rng.random() < 0.2:
            data = damage.content(rng, data)
        cuts = [0, *sorted(int(rng.integers(len(data) + 1)) for _ in range(int(rng.integers(5)))), len(data)]
        messages: list[Any] = [data[a:b] for a, b in pairwise(cuts)]
        if rng.random() < 0.15:
            messages.insert(int(rng.integers(len(messages) + 1)), pick(rng, ("x", "{}", b"", "\0", "é" * 99, b"\xff")))
        return options, [*messages, json.dumps({"end": True})]

    def judge(self, options: str, messages: list[Any], sound: bytes) -> None:
        """What was made is what `infer` makes of the same frames."""
        from vocoder.features.audio import to_levels
        from vocoder.service.options import read_options

        data = b"".join(message for message in messages if isinstance(message, bytes))
        mel = torch.from_numpy(np.frombuffer(data, "<f4").reshape(-1, 8).astype(np.float32)).T
        if not mel.shape[1]:
            require(not sound, "sound of no frames")
            return
        given = read_options(options).for_stream()  # a seed of 0.0 is JSON's 0
        expected = to_levels(self.model.infer(mel, **given))
        require(bool(np.array_equal(np.frombuffer(sound, "<i2"), expected)), "not the samples of infer")

    def close(self) -> None:
        """End the service."""
        self.running.server.should_exit = True
        self.running.thread.join(20)
        require(self.running.is_empty(), "places are taken when all have gone")
