#!/usr/bin/env bash
# One row of docs/learning.md: train for some minutes of one core, then generate freely and measure.
#   recipes/learning/row.sh CORPUS NAME MINUTES [arguments of `vocoder fit` …]
# All is kept in runs/learning/NAME. CORE says which core (default 0), TEMPERATURES the sharpenings to measure with.
set -euo pipefail
corpus=$1 name=$2 minutes=$3
shift 3
folder=runs/learning/$name
vocoder=(taskset --cpu-list "${CORE:-0}" env OMP_NUM_THREADS=1 "${VOCODER:-.venv/bin/vocoder}")

"${vocoder[@]}" fit --config recipes/learning/train.yaml --data.root "$corpus" --run.folder "$folder" \
    --trainer.max_time "00:00:$minutes:00" "$@"
for temperature in ${TEMPERATURES:-1.0 0.7}; do
    "${vocoder[@]}" export --overwrite "$folder/checkpoints/last.ckpt" "$folder/bundle-$temperature" \
        --voiced-temperature "$temperature"
    "${vocoder[@]}" evaluate --model "$folder/bundle-$temperature" --corpus "$corpus" --part validation --limit 16 \
        --seconds 4 --workers 1 --overwrite --output-dir "$folder/evaluation-$temperature"
done
