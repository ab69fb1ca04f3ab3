#!/usr/bin/env bash
# Speak the sentences of metadata.csv with espeak-ng and write wavs/<id>.flac: 22 050 Hz, mono, 16 bit.
# Needs espeak-ng, and a Python with numpy and soundfile: PYTHON=.venv/bin/python recipes/demo/make_corpus.sh
set -euo pipefail
PYTHON=$(realpath --no-symlinks "$(command -v "${PYTHON:-python3}")")
cd "$(dirname "$0")"

spoken=$(mktemp -d)
trap 'rm -rf "$spoken"' EXIT
while IFS='|' read -r id _ text; do
    espeak-ng -v en-gb -s 150 -p 42 -a 100 -w "$spoken/$id.wav" "$text"
done < metadata.csv

mkdir -p wavs
"$PYTHON" - "$spoken" <<'PYTHON'
import pathlib
import sys

import numpy as np
import soundfile

seconds = 0.0
for number, path in enumerate(sorted(pathlib.Path(sys.argv[1]).glob("*.wav"))):
    waveform, sample_rate = soundfile.read(path)
    assert sample_rate == 22_050, f"{path} has {sample_rate} Hz; this espeak-ng is set up differently."
    waveform *= 0.5 / np.abs(waveform).max()
    # The pauses of a synthesiser are digitally silent, which no recording is: -80 dBFS of noise stands in for the room.
    waveform += 1e-4 * np.random.default_rng(number).standard_normal(len(waveform))
    soundfile.write(f"wavs/{path.stem}.flac", waveform, sample_rate, subtype="PCM_16")
    seconds += len(waveform) / sample_rate
print(f"{number + 1} sentences, {seconds:.1f} s")
PYTHON
