#!/usr/bin/env bash
# One row of docs/learning.md: train for some steps on one core, then generate freely and measure.
#   recipes/learning/row.sh CORPUS NAME STEPS [arguments of `vocoder fit` …]
# Variants are compared after equal time, so STEPS is that time divided by what a step of the variant takes on a quiet
# core (`python -m vocoder.bench.training`): other work on the machine then does no harm. Over the last third the
# learning rate falls to zero. All is kept in runs/learning/NAME. CORE says which core; TEMPERATURES are those at which
# voiced frames are sampled.
set -euo pipefail
corpus=$1 name=$2 steps=$3
shift 3
folder=runs/learning/$name
vocoder=(taskset --cpu-list "${CORE:-0}" env OMP_NUM_THREADS=1 "${PYTHON:-.venv/bin/python}" -m vocoder)

"${vocoder[@]}" fit --config recipes/learning/train.yaml --data.root "$corpus" --run.folder "$folder" \
    --trainer.max_steps "$steps" --model.decay_steps $((steps / 3)) "$@"
for temperature in ${TEMPERATURES:-1.0 0.7}; do
    "${vocoder[@]}" export --overwrite "$folder/checkpoints/last.ckpt" "$folder/bundle-$temperature" \
        --voiced-temperature "$temperature" --correction-passes 0
    "${vocoder[@]}" evaluate --model "$folder/bundle-$temperature" --corpus "$corpus" --part validation --limit 16 \
        --seconds 4 --workers 1 --overwrite --output-dir "$folder/evaluation-$temperature"
done
