#!/usr/bin/env bash
# Make a voice in half an hour on two cores: recipes/half-hour/voice.sh CORPUS [arguments of `vocoder fit` …]
# By likelihood for two thirds of the time, by ear for the rest; the voice is runs/half-hour/voice.
set -euo pipefail
corpus=${1:?Name the folder of the recordings: recipes/half-hour/voice.sh /path/to/recordings}
shift
vocoder=("${PYTHON:-.venv/bin/python}" -m vocoder)
first=(--config recipes/half-hour/train.yaml --data.root "$corpus")

# One process, whose products two threads share: 1.5 times as fast as one thread, and than two processes.
OMP_NUM_THREADS=2 "${vocoder[@]}" fit "${first[@]}" "$@"
# Free copies run on one thread of each process: two processes are twice as fast.
OMP_NUM_THREADS=1 "${vocoder[@]}" fit "${first[@]}" --config recipes/voices/by-ear.yaml \
    --run.folder runs/half-hour/by-ear --run.start_from runs/half-hour/checkpoints/last.ckpt \
    --trainer.devices 2 --trainer.strategy ddp --trainer.max_steps 700 --model.decay_steps 680 \
    --trainer.val_check_interval 350 --model.free_running 4 "$@"
"${vocoder[@]}" export --overwrite runs/half-hour/by-ear/checkpoints/last.ckpt runs/half-hour/voice --voiced-temperature 0.65
