"""The page to try the service with, in a real browser, against a real service."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("fastapi", reason="needs the extra `serve`")
from test_service import Running, as_npy, mel, model, serving  # noqa: F401

pytest_plugins = ["browser"]

RATE = 8000
WIDTHS = [390, 1280]

# Where each piece is put on the clock of what is heard: its beginning, its length, and the clock then; in seconds.
WATCH = """
window.pieces = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when) {
    window.pieces.push([when, this.buffer.duration, this.context.currentTime]);
    return start.call(this, when);
};
"""
DROP = """([name, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
}"""
# A microphone that hears a tone.
MICROPHONE = """
navigator.mediaDevices.getUserMedia = async () => {
    const context = new AudioContext();
    const destination = context.createMediaStreamDestination();
    const tone = new OscillatorNode(context, { frequency: 200 });
    tone.connect(destination);
    tone.start();
    return destination.stream;
};
"""


@pytest.fixture
def service(model: Any) -> Iterator[Running]:  # noqa: F811
    with serving(model, streams=4) as running:
        yield running


@pytest.fixture
def opened(page: Any, service: Running) -> Any:
    page.add_init_script(WATCH + MICROPHONE)
    page.goto(f"http://127.0.0.1:{service.port}/")
    wait_until(page, "document.getElementById('voice').textContent.includes('tiny, 8000 Hz')")
    page.click("h1")  # browsers play nothing before somebody has touched the page
    return page


def recording(seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)
    soundfile.write(file, tone, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def wait_until(page: Any, condition: str) -> None:
    """By looking again: `wait_for_function` would be `eval`, which the page's policy forbids."""
    for _ in range(1000):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"waited for twenty seconds until {condition}")


def drop(page: Any, name: str, body: bytes) -> None:
    page.evaluate(DROP, [name, base64.b64encode(body).decode()])


def saved(page: Any, link: str = "#save") -> bytes:
    with page.expect_download() as download:
        page.click(link)
    return Path(download.value.path()).read_bytes()


def expected(service: Running, wav: bytes, **options: Any) -> tuple[bytes, bytes]:
    """The mel and the copy of a recording, without a browser."""
    mel = service.ask("POST", "/v1/mel", wav, "audio/wav").body  # noqa: F811
    return mel, service.synthesize(mel, **options).body


def test_a_dropped_recording_becomes_a_mel_and_a_copy_that_can_be_saved(opened: Any, service: Running) -> None:
    drop(opened, "speech.wav", recording())
    opened.wait_for_selector("#copy")
    mel, copy = expected(service, recording())  # noqa: F811
    assert saved(opened) == copy
    assert saved(opened, "#save-mel") == mel
    shape = list(np.load(io.BytesIO(mel)).shape)
    assert opened.evaluate("[document.getElementById('mel').height, document.getElementById('mel').width]") == shape
    assert opened.inner_text("#said").startswith("1.0")  # seconds, of whole frames
    assert opened.is_visible("#original")
    assert not opened.is_visible("#live")


def test_a_copy_is_played_while_it_is_made(opened: Any, service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    go, begin = Event(), service.service.synthesizer.begin

    async def begin_and_wait(*given: Any) -> tuple[AsyncIterator[bytes], int, str]:
        pieces, samples, warning = await begin(*given)

        async def first_then_rest() -> AsyncIterator[bytes]:
            async for piece in pieces:
                yield piece
                while not go.is_set():
                    await asyncio.sleep(0.01)

        return first_then_rest(), samples, warning

    monkeypatch.setattr(service.service.synthesizer, "begin", begin_and_wait)
    drop(opened, "speech.wav", recording())
    wait_until(opened, "window.pieces.length === 1")
    assert 0 < opened.evaluate("document.getElementById('made').value") < 1
    wait_until(opened, "document.getElementById('pause').textContent === 'Pause'")  # it is heard
    assert not opened.is_visible("#save")
    go.set()
    opened.wait_for_selector("#copy")
    pieces = np.array(opened.evaluate("window.pieces"))
    assert pieces[:, 1].sum() == pytest.approx(len(soundfile.read(io.BytesIO(saved(opened)))[0]) / RATE)
    assert np.all(pieces[1:, 0] >= pieces[:-1, 0] + pieces[:-1, 1] - 1e-9)  # none over another
    assert np.all(pieces[:, 0] > pieces[:, 2])  # none too late


def test_a_mel_is_copied_as_it_is_and_again_with_other_settings(opened: Any, service: Running, mel: Any) -> None:  # noqa: F811
    drop(opened, "speech.npy", as_npy(mel))
    opened.wait_for_selector("#copy")
    assert not opened.is_visible("#original")
    first = saved(opened)
    assert first == service.synthesize(mel).body
    opened.fill("#seed", f"{2**64 - 1}")  # more than JavaScript's numbers hold
    opened.click("#again")
    opened.wait_for_selector("#live")
    opened.wait_for_selector("#copy")
    assert saved(opened) == service.synthesize(mel, seed=2**64 - 1).body != first


def test_a_microphone_is_recorded_and_copied(opened: Any) -> None:
    opened.click("#record")
    wait_until(opened, "document.getElementById('record').textContent === 'Stop'")
    opened.wait_for_timeout(500)
    opened.click("#record")
    opened.wait_for_selector("#copy")
    samples, rate = soundfile.read(io.BytesIO(saved(opened)))
    assert rate == RATE
    assert len(samples) > 0.2 * RATE


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 844})
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    drop(opened, "speech.wav", recording())
    opened.wait_for_selector("#copy")
    assert opened.evaluate("document.documentElement.scrollWidth") == width


def test_a_file_that_is_no_sound_is_named(opened: Any) -> None:
    drop(opened, "letter.txt", b"Dear Sir")
    opened.wait_for_selector("#said.wrong")
    assert opened.inner_text("#said").startswith("letter.txt must be a recording or a mel (.npy), but is neither.")


def test_what_the_service_refuses_is_told_in_its_words(browser: Any, service: Running) -> None:
    window = browser.new_page()  # whose console may tell of a status 422
    window.goto(f"http://127.0.0.1:{service.port}/")
    for name, body, path, kind in [
        ("speech.wav", b"no sound", "mel", "audio/wav"),
        ("speech.npy", b"no mel", "synthesize", "application/x-npy"),
    ]:
        drop(window, name, body)
        refusal = service.ask("POST", f"/v1/{path}", body, kind).error
        window.wait_for_selector("#said.wrong")
        assert window.inner_text("#said") == refusal
        window.reload()
    window.close()


def test_the_file_is_chosen_and_the_copy_heard_by_the_keyboard_alone(opened: Any) -> None:
    opened.on("filechooser", lambda chooser: None)  # the browser hands choosers over from now on, and shows none
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.id") == "file"
    opened.wait_for_timeout(300)
    with opened.expect_file_chooser() as chooser:
        opened.keyboard.press("Enter")
    chooser.value.set_files([{"name": "speech.wav", "mimeType": "audio/wav", "buffer": recording()}])
    opened.wait_for_selector("#copy")
    opened.focus("#copy")
    opened.keyboard.press(" ")
    wait_until(opened, "document.getElementById('copy').currentTime > 0.1")
