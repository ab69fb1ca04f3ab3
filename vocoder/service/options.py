"""The options beside a mel: the query of a request, the first message of a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vocoder.service.admission import RefusedError

# What is no number stays as it came, so that it is refused in `Vocoder.infer`'s own words.
Number = Annotated[int | float | str, Field(union_mode="left_to_right")]
Format = Literal["wav", "flac", "pcm"]


class Options(BaseModel):
    """Arguments of `Vocoder.infer` by the same names."""

    model_config = ConfigDict(extra="forbid")

    seed: Number = Field(0, description="of the noise: the same gives the same samples")
    dialect: str | None = Field(None, description="what the mel means, if not the model's own; /v1/dialects lists them")
    approximate: bool = Field(False, description="also take a dialect that converts only roughly")
    temperature: Number = Field(1.0, description="1 samples the model, less is duller")
    voiced_temperature: Number | None = Field(None, description="the same where voiced; the model's own if left out")
    correction_passes: Number | None = Field(None, description="0 for none; what the model declares if left out")
    speaker: str | int | float | None = Field(None, description="name or index of the voice, for models of several")

    def for_stream(self) -> dict[str, Any]:
        """Give the arguments of `Vocoder.stream`."""
        return self.model_dump(exclude={"format"})


class RequestOptions(Options):
    """The same of a request, which also says what comes back."""

    format: Format = Field("wav", description="wav, flac, or pcm: 16-bit little-endian samples and nothing else")


def read_options(message: str) -> Options:
    """Read the first message of a stream.

    Raises:
        RefusedError: It is no JSON object of options.
    """
    try:
        return Options.model_validate_json(message)
    except ValidationError as error:
        raise RefusedError(422, explain(error)) from error


def explain(error: ValidationError | RequestValidationError) -> str:
    """Say what the first thing is that is wrong with options, and what there is."""
    first = error.errors()[0]
    names = ", ".join(RequestOptions.model_fields)
    name = next((part for part in first["loc"] if part in RequestOptions.model_fields), None)
    if first["type"] == "extra_forbidden":
        return f"`{first['loc'][-1]}` is no option. There are {names}."
    if name is None:
        return f'The first message must be a JSON object of options, such as {{"seed": 7}}. There are {names}.'
    return f"`{name}` cannot be {first['input']!r}: {first['msg']}. Leave it out when in doubt."
