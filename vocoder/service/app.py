"""The service's paths, and what is answered at each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import vocoder
from vocoder.features.conversion import compare
from vocoder.features.dialects import CATALOGUE
from vocoder.inference.vocoder import Vocoder
from vocoder.service.admission import Limits, Places, RefusedError, refusing
from vocoder.service.bodies import READERS, analyse, choose_reader, read_body
from vocoder.service.metrics import Metrics
from vocoder.service.options import RequestOptions, explain
from vocoder.service.sounds import MEDIA_TYPES, PacedResponse, encode
from vocoder.service.streams import serve_stream
from vocoder.service.synthesizer import Synthesizer

SERVED = "/v1/synthesize", "/v1/mel", "/v1/voices", "/v1/dialects", "/healthz", "/metrics", "/"
# Nothing from elsewhere: the page holds all that it needs.
PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; media-src blob:; img-src data:; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'"
)


class Service:
    """The state that all requests share.

    Args:
        model: The model that is served.
        name: The name of the model.
        limits: The limits on what is accepted.
    """

    def __init__(self, model: Vocoder, name: str, limits: Limits) -> None:
        self.model, self.name, self.limits = model, name, limits
        self.metrics, self.places = Metrics(), Places(limits.streams)
        self.synthesizer = Synthesizer(model, self.metrics)

    @cached_property
    def voices(self) -> list[dict[str, Any]]:
        """Facts about what is served, to be read by machines and people."""
        mel, network = self.model.mel, self.model.config.network
        numbers = {"sample_rate": mel.sample_rate, "hop_length": mel.hop_length, "n_mels": mel.n_mels}
        voices = {"speakers": network.num_speakers or 1, "speaker_names": self.model.speakers}
        facts = {"latency": self.model.latency, "training": self.model.training}
        return [{"name": self.name, **numbers, **voices, **facts}]

    @cached_property
    def dialects(self) -> list[dict[str, Any]]:
        """Each dialect that is known, and what becomes of its mels here."""
        return [
            {
                "name": name,
                "about": dialect.about,
                "aliases": dialect.aliases,
                "verdict": (fit := compare(dialect.mel, self.model.mel)).verdict,
                "summary": fit.summary,
            }
            for name, dialect in CATALOGUE.items()
        ]


class Error(BaseModel):
    """The rule, what came, the remedy."""

    error: str


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]


async def _place(service: Served) -> AsyncIterator[None]:
    """Hold a place until the response is sent, or its client gone."""
    with service.places.take():
        yield


def make_app(service: Service) -> FastAPI:
    """Build the application that serves `service`, for any ASGI server."""
    app = FastAPI(
        title="vocoder", summary="Mel spectrograms to waveforms", version=vocoder.__version__, lifespan=_lifespan
    )
    app.state.service = service
    app.add_middleware(_Counting, metrics=service.metrics)
    app.add_exception_handler(RefusedError, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_no_such)
    errors: dict[int | str, dict[str, Any]] = {code: {"model": Error} for code in (408, 413, 415, 422, 503)}
    held = [Depends(_place)]
    app.post("/v1/synthesize", responses=SOUNDS | errors, openapi_extra=MEL_BODY, dependencies=held)(synthesize)
    app.post("/v1/mel", responses=errors, openapi_extra=AUDIO_BODY, dependencies=held)(compute_mel)
    app.websocket("/v1/stream")(stream)
    for path, answer in (("voices", list_voices), ("dialects", list_dialects)):
        app.get(f"/v1/{path}")(answer)
    app.get("/healthz", responses={503: {"model": Error}})(say_healthy)
    app.get("/metrics", response_class=PlainTextResponse)(tell_metrics)
    app.get("/", response_class=HTMLResponse, include_in_schema=False)(show_page)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    app.state.service.synthesizer.close()


# --- paths ------------------------------------------------------------------------------------------------------------

SOUNDS: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}, "description": "The sound, as it is made"}
}
MEL_BODY = {"requestBody": {"required": True, "content": {kind: {} for kind in READERS}}}
AUDIO_BODY = {"requestBody": {"required": True, "content": {"audio/wav": {}, "audio/flac": {}}}}


async def synthesize(request: Request, service: Served, options: Annotated[RequestOptions, Query()]) -> Response:
    """Turn the mel in the body into sound: the samples of `Vocoder.infer`, bit for bit, at 16 bits."""
    read = choose_reader(request.headers.get("content-type", ""))
    body = await read_body(request, service.limits)
    with refusing():
        mel = await service.synthesizer.run(read, body)
    pieces, samples, warning = await service.synthesizer.begin(mel, options, service.limits)
    sound = encode(pieces, options.format, samples, service.model.sample_rate)
    headers = {"Vocoder-Sample-Rate": str(service.model.sample_rate)}
    headers |= {"Vocoder-Warning": warning.encode("ascii", "replace").decode()} if warning else {}
    return PacedResponse(sound, MEDIA_TYPES[options.format], headers, service.limits.idle)


async def compute_mel(request: Request, service: Served) -> Response:
    """Compute the mel, of the model's dialect, of the recording in the body, as a .npy file."""
    kind = request.headers.get("content-type", "")
    if not kind.startswith("audio/"):
        raise RefusedError(415, f"`Content-Type` must be audio/wav or another audio/…, but is {kind or 'missing'!r}.")
    body = await read_body(request, service.limits)
    try:
        with refusing():
            mel = await service.synthesizer.run(analyse, body, service.model.mel, service.limits)
    except ModuleNotFoundError as error:
        raise RefusedError(501, str(error)) from error
    return Response(mel, media_type="application/x-npy")


async def stream(socket: WebSocket) -> None:
    """Turn frames into samples as they come."""
    service: Service = socket.app.state.service
    await serve_stream(socket, service.synthesizer, service.places, service.limits, service.metrics)


def list_voices(service: Served) -> list[dict[str, Any]]:
    """Say what is served: the model's name, rates, and what is known of its training."""
    return service.voices


def list_dialects(service: Served) -> list[dict[str, Any]]:
    """List the dialects that `dialect` may name, and what becomes of each here."""
    return service.dialects


async def say_healthy(service: Served) -> dict[str, str]:
    """Say that new requests are welcome, or 503 while the service ends."""
    if service.places.closing:
        raise RefusedError(503, "The service is about to end.")
    return {"status": "ok"}


async def tell_metrics(service: Served) -> str:
    """Tell what was counted, for Prometheus."""
    places, rate = service.places, service.model.sample_rate
    return service.metrics.text(
        {"vocoder_places": places.total, "vocoder_places_taken": places.taken, "vocoder_sample_rate_hertz": rate}
    )


async def show_page() -> Response:
    """Show a page to try the service with."""
    page = files("vocoder.service").joinpath("page.html").read_text(encoding="utf-8")
    return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY})


# --- what else is said ------------------------------------------------------------------------------------------------


async def _answer_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": error.sentence}, error.status, error.headers)


async def _answer_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"error": explain(error)}, 422)


async def _answer_no_such(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = f"{request.method} {request.url.path}: {error.detail}. There are {', '.join(SERVED)}; see /docs."
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


class _Counting:
    """Counts responses by path and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in SERVED else "other"
                self._metrics.add("vocoder_requests_total", path=path, status=message["status"])
            await send(message)

        await self._app(scope, receive, count)
