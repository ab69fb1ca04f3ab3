"""The model card says of a model what its bundle says, in the form that the hub reads."""

from dataclasses import asdict, replace

import pytest

from conftest import tiny_config, tiny_mel_config, tiny_network
from vocoder.bundles.bundle import CONFIG_FILE, Bundle
from vocoder.bundles.card import write_card
from vocoder.config import SamplingConfig
from vocoder.features.dialects import DIALECTS

NAME = "anna/voice"
TRAINING = {"data": "Anna | reading", "licence": "CC0-1.0", "language": "en", "steps": 7, "validation_nll_bits": 7.5}


def tiny_bundle(training=TRAINING, **changes):
    config = tiny_config(**changes)
    return Bundle(config, tiny_network(config), dict(training))


def read_card(bundle):
    hub = pytest.importorskip("huggingface_hub")
    return hub.ModelCard(write_card(bundle, NAME))


def test_the_hub_reads_from_the_card_what_the_bundle_says():
    card = read_card(tiny_bundle({**TRAINING, "datasets": ["anna/prompts"]}))
    data = card.data.to_dict()
    assert data["library_name"] == "vocoder"
    assert data["license"] == "cc0-1.0"
    assert data["language"] == "en"
    assert data["datasets"] == ["anna/prompts"]
    assert data["sample_rate"] == 8000


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("public domain: LJSpeech", {"license": "other", "license_name": "public-domain-ljspeech"}),
        (None, {}),
    ],
)
def test_a_licence_that_the_hub_does_not_list_is_another(licence, said):
    data = read_card(tiny_bundle({"licence": licence})).data.to_dict()
    assert {key: value for key, value in data.items() if key.startswith("license")} == said


def rows(text):
    """The tables of a card: first cell → second."""
    cells = [line.replace("\\|", "¦").strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {name.strip("`"): value.replace("¦", "|") for name, value in (c for c in cells if len(c) == 2)}


def test_the_card_gives_every_field_of_the_mel_and_every_fact():
    mel = tiny_mel_config(shift=(0.5,) * 8, clip=(-12.0, 2.0))
    found = rows(write_card(tiny_bundle({**TRAINING, "mood": "sunny\nand warm"}, mel=mel), NAME))
    assert found["sample_rate"] == "8000"
    assert found["shift"] == f"8 values, in `{CONFIG_FILE}`"
    assert found["clip"] == "-12.0, 2.0"
    assert asdict(mel).keys() <= found.keys()
    assert found["data"] == "Anna | reading"
    assert found["validation NLL, bits per sample"] == "7.5"
    assert found["mood"] == "sunny and warm"


def test_the_card_gives_size_and_latency_of_the_network():
    bundle = tiny_bundle()
    found = rows(write_card(bundle, NAME))
    assert found["parameters"] == f"{sum(p.numel() for p in bundle.network.parameters()) / 1e6:.2f} M"
    assert found["look-ahead"] == "3 frames, 6.0 ms"  # two of context, one of interpolation; 16 samples at 8 kHz
    assert found["voices"] == "1"


def test_the_card_says_how_samples_are_drawn():
    bundle = tiny_bundle(samples_per_step=4, recent_excitations=3)
    found = rows(write_card(bundle, NAME))
    assert found["samples per step"] == "4"
    assert found["sampling"] == "the network's own law"
    sharpened = bundle._replace(config=replace(bundle.config, sampling=SamplingConfig(0.85)))
    said = "the network's own law, its spread times 0.85 where the mel is voiced (`voiced_temperature`)"
    assert rows(write_card(sharpened, NAME))["sampling"] == said
    corrected = bundle._replace(config=replace(bundle.config, sampling=SamplingConfig(correction_passes=2)))
    said = "the network's own law; 2 passes correct the mel (`correction_passes`)"
    assert rows(write_card(corrected, NAME))["sampling"] == said


def test_a_dialect_with_a_name_is_called_by_it():
    bundle = tiny_bundle()
    assert "A dialect of its own" in write_card(bundle, NAME)
    named = bundle._replace(config=replace(bundle.config, mel=DIALECTS["hifigan"]))
    assert "The dialect `hifigan` of `vocoder dialects`." in write_card(named, NAME)


def test_a_model_of_unknown_origin_has_a_card_that_claims_nothing():
    card = read_card(tiny_bundle({}))
    assert "How it was trained is not recorded." in card.text
    assert {"license", "language", "datasets"}.isdisjoint(card.data.to_dict())
