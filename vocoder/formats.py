"""What a stored model's numbers mean, whatever has become of the defaults since.

Bundles and checkpoints name the version of their format. Each says all of its numbers but those that its version did
not have yet, which meant what is written here.
"""

from __future__ import annotations

from typing import Any

FORMAT_VERSION = 2

# What format 1 left unsaid. These are its own literals: a default that changes today changes no stored model.
_FORMAT_1_MEL = {
    "filterbank_sample_rate": None,
    "power_floor": 0.0,
    "edges": "reflect",
    "layout": "bands_first",
}


def upgrade(values: dict[str, Any], version: int) -> dict[str, Any]:
    """Say in today's terms what a stored config meant.

    Args:
        values: Nested dicts with `mel` and `network`, as `to_dict` gave them at the time.
        version: The version of the format that they were stored in, from 1 to `FORMAT_VERSION`.

    Returns:
        The same with every field that this version of vocoder has.
    """
    if version > 1:
        return values
    network = values["network"]
    plain = {  # one sample per step, its law read from the skip sum by two layers of the same width
        "samples_per_step": 1,
        "sample_channels": network["skip_channels"],
        "recent_excitations": 0,
    }
    return {**values, "mel": {**_FORMAT_1_MEL, **values["mel"]}, "network": {**plain, **network}}
