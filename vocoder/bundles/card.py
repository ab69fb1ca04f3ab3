"""The model card: what a bundle says of itself, as the page that people read on the Hugging Face Hub."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from vocoder.bundles.bundle import CONFIG_FILE, MOST_NAMES, Bundle
from vocoder.config import MelConfig, SamplingConfig
from vocoder.features.dialects import DIALECTS

# Those that speech comes with, among https://huggingface.co/docs/hub/repositories-licenses: the hub refuses a card
# that names a licence which its list does not have.
LICENCES = (
    "apache-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "mit", "odc-by", "openrail", "pddl",
)  # fmt: skip

# Facts about training by their key in `Bundle.training`, as people call them; others are shown by their key.
FACTS = {
    "data": "data",
    "language": "language",
    "licence": "licence",
    "steps": "steps",
    "samples_per_update": "samples per update",
    "validation_nll_bits": "validation NLL, bits per sample",
    "test_nll_bits": "test NLL, bits per sample",
    "test_pesq_wb": "test PESQ, wideband (1 to 4.6)",
}

LIMITATIONS = """\
- Voices, microphones and rooms unlike those of its data come out worse.
- It takes the mels described above. `infer(mel, dialect=…)` converts from other dialects where that can be done;
  `vocoder dialects` says which. Mels of another dialect that are not converted sound like noise.
- One channel. Each seed gives another waveform, the same one every time.
- It is not meant for passing off what it generates as a person's own words."""


def write_card(bundle: Bundle, name: str) -> str:
    """Write a model card: what it is, how to use it, mel, network, training, limitations.

    What is not known is left out. Facts about training come from `bundle.training`: see `FACTS` for what may be there,
    and `datasets`, a list of ids on the hub.

    Args:
        bundle: The model.
        name: The name that people will pass to `Vocoder.from_pretrained`.

    Returns:
        The Markdown after a block of YAML, as the hub reads it.
    """
    rate = bundle.config.mel.sample_rate
    sections = {
        f"# {name}": f"A WaveNet for the Python package `vocoder`: mel spectrograms to waveforms at {rate} Hz.",
        "## Use": _usage(bundle, name),
        "## Mel": _describe_mel(bundle.config.mel),
        "## Network": _describe_network(bundle),
        "## Training": _describe_training(bundle.training),
        "## Limitations": LIMITATIONS,
    }
    return _front_matter(bundle) + "".join(f"\n{title}\n\n{text}\n" for title, text in sections.items())


def _front_matter(bundle: Bundle) -> str:
    told = {key: bundle.training.get(key) for key in ("language", "datasets")}
    values: dict[str, Any] = {
        "library_name": "vocoder",
        "pipeline_tag": "audio-to-audio",
        "tags": ["vocoder", "wavenet", "mel-spectrogram", "speech-synthesis"],
        **_licence(bundle.training.get("licence")),
        **{key: value for key, value in told.items() if value},
        "sample_rate": bundle.config.mel.sample_rate,
    }
    lines = (f"{key}: {json.dumps(value)}\n" for key, value in values.items())  # JSON is YAML
    return f"---\n{''.join(lines)}---\n"


def _licence(name: str | None) -> dict[str, str]:
    if name is None:
        return {}
    identifier = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    return {"license": identifier} if identifier in LICENCES else {"license": "other", "license_name": identifier}


def _usage(bundle: Bundle, name: str) -> str:
    mel, speakers = bundle.config.mel, bundle.config.speakers
    argument, option = "", ""
    if bundle.config.network.num_speakers:
        voice = speakers[0] if speakers else 0
        argument, option = f", speaker={voice!r}", f" --speaker {shlex.quote(str(voice))}"
    shape = f"({mel.n_mels}, frames)" if mel.layout == "bands_first" else f"(frames, {mel.n_mels})"
    return f"""\
```python
import vocoder

voice = vocoder.Vocoder.from_pretrained("{name}")
waveform = voice.infer(mel{argument})  # mel {shape}, waveform (frames * {mel.hop_length},)
```

In a shell, from a mel saved as `.npy` or `.pt`:

```sh
vocoder infer --model {name}{option} mel.npy --output-dir generated
```"""


def _describe_mel(mel: MelConfig) -> str:
    preset = next((name for name, config in DIALECTS.items() if config == mel), None)
    known = f"The dialect `{preset}` of `vocoder dialects`" if preset else "A dialect of its own"
    values = {f"`{field.name}`": _say(getattr(mel, field.name)) for field in dataclasses.fields(mel)}
    return f"{known}. As the fields of `vocoder.MelConfig`:\n\n{_table(values)}"


def _say(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) if len(value) < 5 else f"{len(value)} values, in `{CONFIG_FILE}`"
    return "none" if value is None else str(value)


def _describe_network(bundle: Bundle) -> str:
    mel, config, network = bundle.config.mel, bundle.config.network, bundle.network
    ahead, order = config.margin_frames * mel.hop_length, config.linear_prediction_order
    return _table(
        {
            "parameters": f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.2f} M",
            "layers": f"{len(config.dilations)}, of {config.residual_channels} residual channels",
            "samples per step": str(config.samples_per_step),
            "law of a sample": config.distribution.name.replace("_", " "),
            "linear prediction": f"order {order}" if order else "none",
            "receptive field": f"{config.receptive_field} samples, {network.receptive_field_ms:.0f} ms",
            "sampling": _describe_sampling(bundle.config.sampling),
            "look-ahead": f"{config.margin_frames} frames, {1000 * ahead / mel.sample_rate:.1f} ms",
            "voices": f"{config.num_speakers or 1}{_describe_speakers(bundle.config.speakers)}",
        }
    )


def _describe_sampling(sampling: SamplingConfig) -> str:
    temperature = sampling.voiced_temperature
    narrower = f", its spread times {temperature:g} where the mel is voiced (`voiced_temperature`)"
    passes = f"; {sampling.correction_passes} passes correct the mel (`correction_passes`)"
    law = f"the network's own law{narrower if temperature < 1 else ''}"
    return law + (passes if sampling.correction_passes else "")


def _describe_speakers(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMES} more, in `{CONFIG_FILE}`" if len(names) > MOST_NAMES else ""
    return f": {', '.join(names[:MOST_NAMES])}{more}" if names else ""


def _describe_training(training: Mapping[str, Any]) -> str:
    facts = {**{key: training.get(key) for key in FACTS}, **training}
    values = {FACTS.get(key, f"`{key}`"): _say(value) for key, value in facts.items() if value is not None}
    return _table(values) if values else "How it was trained is not recorded."


def _table(values: Mapping[str, str]) -> str:
    rows = (f"| {name} | {_cell(value)} |" for name, value in values.items())
    return "\n".join(["| | |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
