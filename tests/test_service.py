"""The service: the same samples as `infer` by every way in, the same refusals, and nobody can keep others out."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import pickle
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from conftest import speech_like_mel, tiny_config, tiny_mel_config, tiny_network
from vocoder.bench.live import format_live
from vocoder.cli import main
from vocoder.features.audio import to_levels
from vocoder.features.dialects import DIALECTS
from vocoder.features.mel import LogMelSpectrogram
from vocoder.inference.mel_checks import look_frames
from vocoder.inference.vocoder import Vocoder

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")
websockets = pytest.importorskip("websockets.sync.client", reason="needs the extra `serve`")

from websockets.exceptions import ConnectionClosed  # noqa: E402

from vocoder.bench.service import load  # noqa: E402
from vocoder.service.admission import Limits, Places, RefusedError  # noqa: E402
from vocoder.service.app import Service  # noqa: E402
from vocoder.service.server import Server, make_server  # noqa: E402
from vocoder.service.sounds import PacedResponse  # noqa: E402
from vocoder.service.synthesizer import Synthesizer  # noqa: E402

FRAMES = 100
NPY = "application/x-npy"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        return json.loads(self.body)["error"]


class Running:
    """A service in a thread, and a client of it."""

    def __init__(self, server: Server, service: Service) -> None:
        self.server, self.service = server, service
        self.thread = Thread(target=server.run)
        self.thread.start()
        wait_until(lambda: server.started)
        self.port = server.servers[0].sockets[0].getsockname()[1]

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        kinds = {"Content-Type": kind} if kind else {}
        connection.request(method, path, body, {**kinds, **headers})
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return answer

    def synthesize(self, mel: bytes | Tensor, kind: str = NPY, **query: Any) -> Answer:
        body = as_npy(mel) if isinstance(mel, Tensor) else mel
        return self.ask("POST", f"/v1/synthesize?{urlencode(query)}", body, kind)

    def connect(self, **options: Any) -> Any:
        return websockets.connect(f"ws://127.0.0.1:{self.port}/v1/stream", proxy=None, **options)

    def is_empty(self) -> bool:
        return self.service.places.taken == 0


@contextmanager
def serving(model: Vocoder, **limits: Any) -> Iterator[Running]:
    service = Service(model, "tiny", Limits(**limits))
    running = Running(make_server(service, "127.0.0.1", 0), service)
    try:
        yield running
    finally:
        running.server.should_exit = True
        running.thread.join(20)
        assert not running.thread.is_alive()


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "It should have come true by now."
        time.sleep(0.005)


def as_npy(mel: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(mel))
    return file.getvalue()


def as_frames(mel: Tensor) -> bytes:
    return mel.T.contiguous().numpy().astype("<f4").tobytes()


@pytest.fixture(scope="module")
def model() -> Vocoder:
    torch.manual_seed(0)
    config = tiny_config()
    return Vocoder(config, tiny_network(config))


@pytest.fixture(scope="module")
def mel(model: Vocoder) -> Tensor:
    torch.manual_seed(1)
    return speech_like_mel(model.mel, FRAMES)[0]


@pytest.fixture(scope="module")
def service(model: Vocoder) -> Iterator[Running]:
    with serving(model, streams=16) as running:  # twice what is held: each is free a moment after its client has all
        yield running


def levels_of(answer: Answer, kind: str) -> Any:
    if kind == "pcm":
        return np.frombuffer(answer.body, "<i2")
    samples, rate = soundfile.read(io.BytesIO(answer.body), dtype="int16")
    assert rate == 8000
    return samples


# --- the samples ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wav", "flac", "pcm"])
@pytest.mark.parametrize(
    "options",
    [{}, {"seed": 2**64 - 1, "temperature": 0.7}, {"seed": 3, "voiced_temperature": 0.5, "correction_passes": 2}],
    ids=str,
)
def test_every_format_holds_the_samples_of_infer(
    service: Running, model: Vocoder, mel: Tensor, kind: str, options: dict[str, Any]
) -> None:
    answer = service.synthesize(mel, format=kind, **options)
    assert answer.status == 200
    assert np.array_equal(levels_of(answer, kind), to_levels(model.infer(mel, **options)))


def test_a_wav_is_the_one_that_a_file_would_be(service: Running, model: Vocoder, mel: Tensor) -> None:
    file = io.BytesIO()
    soundfile.write(file, to_levels(model.infer(mel)), 8000, format="WAV", subtype="PCM_16")
    assert service.synthesize(mel).body == file.getvalue()


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        (NPY, lambda mel: as_npy(mel)),
        (NPY, lambda mel: as_npy(np.asfortranarray(mel.numpy()))),
        (NPY, lambda mel: as_npy(mel.numpy().astype(">f8")[None])),
        ("application/json", lambda mel: json.dumps(mel.tolist()).encode()),
        ("application/json; charset=utf-8", lambda mel: json.dumps(mel[None].tolist()).encode()),
        ("application/x-safetensors", lambda mel: save_tensors(mel=mel)),
    ],
)
def test_every_body_means_the_same_mel(
    service: Running, model: Vocoder, mel: Tensor, kind: str, write: Callable[[Tensor], bytes]
) -> None:
    answer = service.synthesize(write(mel), kind, format="pcm", seed=5)
    assert np.array_equal(levels_of(answer, "pcm"), to_levels(model.infer(mel, seed=5)))


def save_tensors(**tensors: Tensor) -> bytes:
    from safetensors.torch import save

    return save(tensors)


def test_frames_may_come_first() -> None:
    config = tiny_config(mel=tiny_mel_config(layout="frames_first"))
    model = Vocoder(config, tiny_network(config))
    mel = speech_like_mel(model.mel, 40)[0].T.contiguous()
    with serving(model) as service:
        assert np.array_equal(levels_of(service.synthesize(mel), "wav"), to_levels(model.infer(mel)))
        assert np.array_equal(converse(service, [as_frames(mel.T)]), to_levels(model.infer(mel)))


def test_a_dialect_is_converted_as_infer_converts_it() -> None:
    config = tiny_config(mel=replace(tiny_mel_config(), n_mels=80, f_max=8000.0, sample_rate=22050, n_fft=1024,
                                     win_length=1024, hop_length=256))  # fmt: skip
    model = Vocoder(config, tiny_network(config))
    mel = speech_like_mel(DIALECTS["parallel-wavegan"], 40)[0].T  # frames first
    expected = to_levels(model.infer(mel, dialect="parallel-wavegan", approximate=True))
    with serving(model) as service:
        answer = service.synthesize(mel, dialect="parallel-wavegan", approximate=True, format="pcm")
        assert answer.status == 200, answer.body
    assert np.array_equal(levels_of(answer, "pcm"), expected)


def converse(service: Running, messages: list[bytes], **options: Any) -> Any:
    with service.connect() as client:
        client.send(json.dumps(options))
        assert json.loads(client.recv())["sample_rate"] == service.service.model.sample_rate
        for message in messages:
            client.send(message)
        client.send(json.dumps({"end": True}))
        return np.frombuffer(b"".join(client), "<i2")


@pytest.mark.parametrize("size", [1, 37, 32 * 7, 10**6], ids="{} bytes".format)
def test_a_stream_gives_the_samples_of_infer_whatever_its_messages_cut(
    service: Running, model: Vocoder, mel: Tensor, size: int
) -> None:
    data = as_frames(mel[:, :60])
    messages = [data[start : start + size] for start in range(0, len(data), size)]
    expected = to_levels(model.infer(mel[:, :60], seed=4, temperature=0.8))
    assert np.array_equal(converse(service, messages, seed=4, temperature=0.8), expected)


def test_samples_come_before_the_stream_ends(service: Running, model: Vocoder, mel: Tensor) -> None:
    with service.connect() as client:
        client.send("{}")
        facts = json.loads(client.recv())
        client.send(as_frames(mel))
        waiting = round(facts["latency"] * model.sample_rate)
        received = b""
        while len(received) < 2 * (FRAMES * model.hop_length - waiting):
            received += client.recv(timeout=10)
        assert np.array_equal(np.frombuffer(received, "<i2"), to_levels(model.infer(mel))[: len(received) // 2])


def test_many_at_once_do_not_mix(service: Running, model: Vocoder, mel: Tensor) -> None:
    def ask(seed: int) -> Any:
        if seed % 2:
            return levels_of(service.synthesize(mel, seed=seed), "wav")
        return converse(service, [as_frames(mel)], seed=seed)

    with ThreadPoolExecutor(8) as pool:
        for seed, samples in enumerate(pool.map(ask, range(16))):
            assert np.array_equal(samples, to_levels(model.infer(mel, seed=seed)))


# --- refusals ---------------------------------------------------------------------------------------------------------

REFUSED_OPTIONS: list[dict[str, Any]] = [
    {"seed": -1},
    {"seed": 2**64},
    {"seed": "seven"},
    {"temperature": 0},
    {"temperature": float("nan")},
    {"temperature": "warm"},
    {"voiced_temperature": 1.5},
    {"correction_passes": 17},
    {"correction_passes": -1},
    {"speaker": 0},
    {"dialect": "hifygan"},
]


def sentence_of_infer(model: Vocoder, mel: Any, **options: Any) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        model.infer(mel, **options)
    return str(caught.value)


@pytest.mark.parametrize("options", REFUSED_OPTIONS, ids=str)
def test_what_infer_refuses_is_refused_in_its_words(
    service: Running, model: Vocoder, mel: Tensor, options: dict[str, Any]
) -> None:
    expected, before = sentence_of_infer(model, mel, **options), samples_made(service)
    answer = service.synthesize(mel, **options)
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/json"
    assert answer.error == expected
    assert samples_made(service) == before
    if "nan" not in str(options):  # which JSON cannot say
        error, code = refusal_of_stream(service, json.dumps(options))
        assert (error, code) == (expected, 1008)


def test_a_dialect_that_does_not_convert_is_refused_in_infers_words(service: Running, model: Vocoder) -> None:
    mel = speech_like_mel(DIALECTS["tacotron2"], 20)[0]
    expected = sentence_of_infer(model, mel, dialect="tacotron2")
    assert service.synthesize(mel, dialect="tacotron2").error == expected
    assert refusal_of_stream(service, '{"dialect": "tacotron2"}') == (expected, 1008)


def refusal_of_stream(service: Running, *messages: str | bytes) -> tuple[str, int]:
    texts = []
    with service.connect() as client:
        for message in messages:
            client.send(message)
        with pytest.raises(ConnectionClosed) as caught:
            texts.extend(iter(client.recv, None))
    assert caught.value.rcvd is not None
    error = json.loads([text for text in texts if isinstance(text, str)][-1])["error"]
    assert error.startswith(caught.value.rcvd.reason[:60])
    return error, caught.value.rcvd.code


def samples_made(service: Running) -> str:
    return next(line for line in service.ask("GET", "/metrics").body.decode().splitlines() if "_samples_total " in line)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda mel: mel.index_fill(1, torch.tensor([31]), float("nan")),
        lambda mel: mel.index_fill(1, torch.tensor([99]), float("inf")),
        lambda mel: mel - 1e4,
        lambda mel: mel.T,
        lambda mel: mel[:7],
        lambda mel: mel[0],
        lambda mel: mel[:, :0][None, None],
        lambda mel: mel.int(),
    ],
)
def test_a_mel_that_infer_refuses_is_refused_in_its_words(
    service: Running, model: Vocoder, mel: Tensor, spoil: Callable[[Tensor], Tensor]
) -> None:
    spoilt, before = spoil(mel), samples_made(service)
    expected = sentence_of_infer(model, spoilt.numpy())
    body, kind = (as_npy(spoilt), NPY) if spoilt.numel() else (save_tensors(mel=spoilt), "application/x-safetensors")
    answer = service.synthesize(body, kind)
    assert (answer.status, answer.error) == (422, expected)
    assert samples_made(service) == before


def test_a_broken_frame_ends_a_stream_and_is_named(service: Running, mel: Tensor) -> None:
    broken = mel.clone()
    broken[2, 31] = float("nan")
    error, code = refusal_of_stream(service, "{}", as_frames(broken))
    assert "frame 31 of the stream" in error
    assert code == 1008
    wait_until(service.is_empty)


class Trap:
    sprung = False

    def __reduce__(self) -> Any:
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize(
    ("kind", "body", "status", "said"),
    [
        ("", b"x", 415, "but is 'missing'"),
        ("text/plain", b"x", 415, "`Content-Type` must be one of application/x-npy"),
        ("application/x-www-form-urlencoded", b"x", 415, "Name it"),
        (NPY, b"", 422, "its header is damaged"),
        (NPY, b"\x93NUMPY\x01\x00\xff\xff{", 422, "its header is damaged"),
        (NPY, b"\x93NUMPY\x01\x00\x10\x00__import__('os')", 422, "its header is damaged"),
        (NPY, as_npy(np.zeros((8, 100), "f4"))[:-1], 422, "but has 3199 bytes for it"),
        (NPY, as_npy(np.zeros((8, 9), "f4")).replace(b"(8, 9)", b"(8,-9)"), 422, "bytes for it"),
        (NPY, as_npy(np.zeros((8, 100), "f4")).replace(b"(8, 100)", b"(8, 9e9)"), 422, "its header is damaged"),
        (NPY, as_npy(np.zeros((8, 100), "f4")).replace(b"(8, 100)", b"(9**9,8)"), 422, "its header is damaged"),
        (NPY, as_npy(np.zeros((8, 100), "f4")).replace(b"(8, 100),", b"(8, 10000)"), 422, ""),
        (NPY, as_npy(np.zeros((2, 8, 100), "f4")), 422, "`mel` is a batch of 2"),
        (NPY, as_npy(np.array([["a"]])), 422, "real floating-point numbers"),
        ("application/x-safetensors", b"", 422, "is damaged"),
        ("application/x-safetensors", struct.pack("<Q", 2**60) + b"{}", 422, "is damaged"),
        ("application/x-safetensors", save_tensors(a=torch.zeros(8, 9), b=torch.zeros(8, 9)), 422, "but holds 2"),
        ("application/json", b"[[0.0], [0.0, 1.0]]", 422, "all of one length"),
        ("application/json", b"[" * 100_000, 422, "JSON array"),
        ("application/json", b'{"mel": 1}', 422, "JSON array"),
        ("application/json", b"\xff\xfe\x00", 422, "JSON array"),
    ],
)
def test_a_body_that_is_no_mel_is_refused(service: Running, kind: str, body: bytes, status: int, said: str) -> None:
    answer = service.synthesize(body, kind)
    assert answer.status == status
    assert said in answer.error


def test_nothing_is_unpickled(service: Running) -> None:
    file = io.BytesIO()
    np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)
    answer = service.synthesize(file.getvalue())
    assert (answer.status, Trap.sprung) == (422, False)
    assert "pickled" in answer.error
    assert service.synthesize(pickle.dumps(Trap())).status == 422
    assert not Trap.sprung


def test_an_option_that_there_is_not_is_named(service: Running, mel: Tensor) -> None:
    answer = service.synthesize(mel, warmth=0.9)
    assert answer.status == 422
    assert answer.error.startswith("`warmth` is no option. There are seed, ")
    assert "`format` cannot be 'mp3'" in service.synthesize(mel, format="mp3").error
    assert refusal_of_stream(service, '{"sed": 1}')[0].startswith("`sed` is no option.")


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ((b"\0" * 32,), "but is binary"),
        (("hello",), "must be a JSON object"),
        (("[]",), "must be a JSON object"),
        (("{}", "stop"), "then {\"end\": true}, but not 'stop'"),
        (("{}", b"\0" * 33, '{"end": true}'), "but ends 1 bytes into one"),
    ],
)
def test_a_message_out_of_turn_is_refused(service: Running, messages: Any, said: str) -> None:
    error, code = refusal_of_stream(service, *messages)
    assert said in error
    assert code == 1008


def test_a_path_that_there_is_not_is_answered_with_those_there_are(service: Running) -> None:
    answer = service.ask("GET", "/v2")
    assert answer.status == 404
    assert "/v1/synthesize" in answer.error
    assert service.ask("GET", "/v1/synthesize").status == 405


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(model: Vocoder) -> None:
    with serving(model, body_bytes=1000) as service:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
            head = f"POST /v1/synthesize HTTP/1.1\r\nHost: x\r\nContent-Type: {NPY}\r\nContent-Length: 1001\r\n\r\n"
            client.sendall(head.encode())
            assert b" 413 " in client.recv(100)
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
            head = (
                f"POST /v1/synthesize HTTP/1.1\r\nHost: x\r\nContent-Type: {NPY}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            client.sendall(head.encode() + b"3e9\r\n" + bytes(1001))
            assert b" 413 " in client.recv(100)
        wait_until(service.is_empty)


def test_a_message_that_is_too_large_ends_the_stream(service: Running) -> None:
    with service.connect() as client:
        client.send("{}")
        client.recv()
        client.send(bytes(2**20 + 1))
        with pytest.raises(ConnectionClosed) as caught:
            client.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009
    wait_until(service.is_empty)


def test_a_sound_that_is_too_long_is_refused_before_it_is_made(model: Vocoder, mel: Tensor) -> None:
    seconds = FRAMES * model.hop_length / model.sample_rate
    with serving(model, seconds=seconds) as service:
        assert service.synthesize(mel).status == 200
        before = samples_made(service)
        answer = service.synthesize(torch.cat([mel, mel[:, :1]], dim=1))
        assert answer.status == 422
        assert "`mel` has 101 frames, which are 0.2 s. Send it in parts" in answer.error
        assert samples_made(service) == before


def test_who_finds_no_place_is_told_when_to_come_back(model: Vocoder, mel: Tensor) -> None:
    with serving(model, streams=1) as service:
        with service.connect() as client:
            client.send("{}")
            client.recv()
            answer = service.synthesize(mel)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "All 1 places are taken." in answer.error
            error, code = refusal_of_stream(service)
            assert ("All 1 places are taken." in error, code) == (True, 1013)
            assert service.ask("GET", "/healthz").status == 200  # it works, and is merely busy
        wait_until(service.is_empty)
        assert service.synthesize(mel).status == 200


def test_a_place_is_free_again_whatever_happens_in_it() -> None:
    places = Places(1)
    for _ in range(2):
        with pytest.raises(KeyError), places.take():
            raise KeyError
    with places.take(), pytest.raises(RefusedError, match="All 1 places"), places.take():
        pass
    assert places.taken == 0


def test_a_client_that_dies_frees_its_place(model: Vocoder, mel: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_down(monkeypatch, 0.02)
    with serving(model, streams=2) as service:
        with service.connect() as stream:
            stream.send("{}")
            stream.recv()
            stream.send(as_frames(mel))
            stream.socket.shutdown(socket.SHUT_RDWR)
        request = socket.create_connection(("127.0.0.1", service.port), timeout=10)
        body = as_npy(torch.cat([mel] * 50, dim=1))
        head = f"POST /v1/synthesize HTTP/1.1\r\nHost: x\r\nContent-Type: {NPY}\r\nContent-Length: {len(body)}\r\n\r\n"
        request.sendall(head.encode() + body)
        assert b" 200 " in request.recv(100)
        request.close()
        wait_until(service.is_empty, 3)


def slow_down(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    push = Synthesizer.push

    async def slowly(self: Synthesizer, *arguments: Any) -> bytes:
        await asyncio.sleep(seconds)
        return await push(self, *arguments)

    monkeypatch.setattr(Synthesizer, "push", slowly)


def test_a_client_that_sends_nothing_loses_its_place(model: Vocoder, mel: Tensor) -> None:
    with serving(model, idle=0.5) as service:
        assert "A message must come every 0.5 s" in refusal_of_stream(service)[0]
        assert "A message must come every 0.5 s" in refusal_of_stream(service, "{}", as_frames(mel))[0]
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
            head = f"POST /v1/synthesize HTTP/1.1\r\nHost: x\r\nContent-Type: {NPY}\r\nContent-Length: 99\r\n\r\n"
            client.sendall(head.encode())
            assert b" 408 " in client.recv(100)
        wait_until(service.is_empty)


def test_a_client_that_takes_nothing_loses_its_place(
    model: Vocoder, mel: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def flood(*_: Any) -> bytes:
        return bytes(2**23)  # more than sockets hold

    monkeypatch.setattr(Synthesizer, "push", flood)
    with serving(model, idle=1) as service, service.connect(max_size=None, max_queue=1) as client:
        client.send("{}")
        client.recv()
        client.send(as_frames(torch.cat([mel] * 10, dim=1)))
        time.sleep(0.1)
        assert not service.is_empty()
        wait_until(service.is_empty)
        client.socket.shutdown(socket.SHUT_RDWR)


def test_a_response_that_nobody_takes_is_given_up() -> None:
    made = []

    async def pieces() -> Any:
        for index in range(100):
            made.append(index)
            yield b"x"

    async def never(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def listen() -> Any:
        await asyncio.Event().wait()

    response = PacedResponse(pieces(), "audio/wav", {}, idle=0.05)
    asyncio.run(response({"type": "http"}, listen, never))
    assert made == [0]


# --- the end ----------------------------------------------------------------------------------------------------------


def test_whoever_is_served_may_finish_and_nobody_else_is_let_in(model: Vocoder, mel: Tensor) -> None:
    with serving(model) as service:
        with service.connect() as client:
            client.send("{}")
            client.recv()
            client.send(as_frames(mel[:, :50]))
            service.server.should_exit = True
            wait_until(lambda: service.service.places.closing)
            assert service.ask("GET", "/healthz").status == 503
            assert "about to end" in service.synthesize(mel).error
            assert refusal_of_stream(service)[1] == 1013
            client.send(as_frames(mel[:, 50:]))
            client.send('{"end": true}')
            assert np.array_equal(np.frombuffer(b"".join(client), "<i2"), to_levels(model.infer(mel)))
        service.thread.join(10)
        assert not service.thread.is_alive()


def test_the_service_ends_although_a_client_does_not(model: Vocoder) -> None:
    with serving(model, grace=0.2) as service, service.connect() as client:
        client.send("{}")
        client.recv()
        service.server.should_exit = True
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(timeout=10)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        service.thread.join(10)
        assert not service.thread.is_alive()


def test_the_command_serves_until_it_is_told_to_end(model: Vocoder, mel: Tensor, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    command = [sys.executable, "-m", "vocoder", "serve", "--model", str(tmp_path / "model"), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "running on" in line)
        port = int(line.split("http://127.0.0.1:")[1].split()[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/v1/synthesize?seed=4&format=pcm", as_npy(mel), {"Content-Type": NPY})
        assert np.array_equal(
            np.frombuffer(connection.getresponse().read(), "<i2"), to_levels(model.infer(mel, seed=4))
        )
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert "rror" not in process.stderr.read()
        assert process.wait(10) in (0, -signal.SIGTERM)


# --- what else is answered --------------------------------------------------------------------------------------------


def test_a_recording_becomes_its_mel(service: Running, model: Vocoder) -> None:
    speech = 0.3 * torch.sin(torch.arange(4000) / 5)
    file = io.BytesIO()
    soundfile.write(file, speech.numpy(), 8000, format="WAV", subtype="FLOAT")
    answer = service.ask("POST", "/v1/mel", file.getvalue(), "audio/wav")
    assert answer.status == 200
    assert np.array_equal(np.load(io.BytesIO(answer.body)), LogMelSpectrogram(model.mel)(speech[None])[0].numpy())


@pytest.mark.parametrize(
    ("rate", "samples", "said"),
    [
        (8000, 8000 * 121, "may last 120 s, but this lasts 121.0 s"),
        (999, 100, "less than 1000 Hz holds no speech"),
        (2**31 - 1, 100, "more than 1000000 Hz nobody records"),
    ],
)
def test_a_recording_that_is_too_long_or_odd_is_refused(service: Running, rate: int, samples: int, said: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(samples, "f4"), rate, format="WAV")
    assert said in service.ask("POST", "/v1/mel", file.getvalue(), "audio/wav").error


def test_what_is_no_recording_is_refused(service: Running) -> None:
    answer = service.ask("POST", "/v1/mel", b"RIFFxxxx", "audio/wav")
    assert (answer.status, "cannot be read as audio" in answer.error) == (422, True)
    assert service.ask("POST", "/v1/mel", b"x", "text/plain").status == 415


def test_without_torchaudio_only_mels_are_taken(
    service: Running, without_package: Callable[[str], None], mel: Tensor
) -> None:
    without_package("torchaudio")
    answer = service.ask("POST", "/v1/mel", b"RIFF", "audio/wav")
    assert (answer.status, "needs torchaudio" in answer.error) == (501, True)
    assert service.synthesize(mel).status == 200


@pytest.mark.filterwarnings("ignore::vocoder.inference.mel_checks.DialectWarning")  # as the command does
def test_a_mel_that_looks_like_anothers_is_made_with_a_warning(service: Running, mel: Tensor) -> None:
    doubtful = mel * 0 + 3.0
    doubtful[:, ::2] = -14.0
    answer = service.synthesize(doubtful)
    assert answer.status == 200
    assert "looks like another dialect" in answer.headers["vocoder-warning"]
    assert "vocoder-warning" not in service.synthesize(mel).headers


@pytest.mark.filterwarnings("ignore::vocoder.inference.mel_checks.DialectWarning")
def test_a_stream_warns_once_when_enough_frames_have_come(service: Running, model: Vocoder) -> None:
    frames = np.full((look_frames(model.mel) + 40, 8), 3.0, dtype="<f4")
    frames[:, ::2] = -14.0
    with service.connect() as client:
        for message in ("{}", frames.tobytes(), json.dumps({"end": True})):
            client.send(message)
        texts = [json.loads(message) for message in client if isinstance(message, str)]
    assert [list(text) for text in texts[1:]] == [["warning"]]
    assert "looks like another dialect" in texts[1]["warning"]


def test_the_service_says_what_it_serves_and_takes(service: Running, model: Vocoder) -> None:
    (voice,) = json.loads(service.ask("GET", "/v1/voices").body)
    assert (voice["name"], voice["sample_rate"], voice["n_mels"]) == ("tiny", 8000, 8)
    assert voice["latency"] == model.latency
    dialects = {one["name"]: one for one in json.loads(service.ask("GET", "/v1/dialects").body)}
    assert all(dialects[name]["verdict"] == model.fits(name).verdict for name in dialects)
    assert dialects["rayhane"]["verdict"] == "refused"
    assert json.loads(service.ask("GET", "/healthz").body) == {"status": "ok"}
    paths = json.loads(service.ask("GET", "/openapi.json").body)["paths"]
    assert NPY in paths["/v1/synthesize"]["post"]["requestBody"]["content"]


def test_the_page_needs_nothing_from_elsewhere(service: Running) -> None:
    answer = service.ask("GET", "/")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; connect-src 'self'")
    assert b"http:" not in answer.body
    assert b"https:" not in answer.body


def test_what_is_made_is_counted(model: Vocoder, mel: Tensor) -> None:
    with serving(model, streams=3) as service:
        service.synthesize(mel)
        service.synthesize(mel, seed=-1)
        converse(service, [as_frames(mel)])
        service.ask("GET", "/somewhere")
        wait_until(service.is_empty)
        text = service.ask("GET", "/metrics").body.decode()
    rows = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert rows['vocoder_requests_total{path="/v1/synthesize",status="200"}'] == "1"
    assert rows['vocoder_requests_total{path="/v1/synthesize",status="422"}'] == "1"
    assert rows['vocoder_requests_total{path="other",status="404"}'] == "1"
    assert rows['vocoder_streams_total{code="1000"}'] == "1"
    assert rows["vocoder_samples_total"] == str(2 * FRAMES * model.hop_length)
    assert (rows["vocoder_places"], rows["vocoder_places_taken"]) == ("3", "0")
    assert float(rows["vocoder_busy_seconds_total"]) > 0


def test_load_is_measured_by_streams_that_speak_in_real_time(service: Running) -> None:
    row = asyncio.run(load(f"ws://127.0.0.1:{service.port}/v1/stream", 3, 0.2))
    assert 0 < row["delay_ms_50"] <= row["delay_ms_95"] <= row["delay_ms_99"] <= row["delay_ms_max"]
    assert 0 <= row["kept_up"] <= row["streams"] == 3
    assert len(format_live([row]).splitlines()) == 2


# --- the command ------------------------------------------------------------------------------------------------------


def test_without_the_extra_the_command_says_how_to_get_it(
    without_package: Callable[[str], None], forget: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    forget("vocoder.service")
    without_package("fastapi")
    assert main(["serve"]) == 2
    assert "`vocoder serve` needs fastapi, which is not installed. Run `pip install 'vocoder[serve]'`." in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("wrong", [["--streams", "-1"], ["--seconds", "0"], ["--idle", "-1"], ["--grace", "-1"]])
def test_limits_that_let_nobody_in_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *wrong]) == 2
    assert f"`{wrong[0].strip('-')}` must" in capsys.readouterr().err
