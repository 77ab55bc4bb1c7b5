#!/usr/bin/env bash
# Makes mobilebert-nano from text: `bash examples/nano/make.sh DATA OUTPUT`, under two hours on two cores.
# Given again after an interruption it goes on where it was. README.md here tells what each step is.
set -euo pipefail
data=$1 output=$2
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}

python "$here/prepare_corpus.py" "$data" "$output/text"
mobilebert train-tokenizer "$output"/text/train/*.txt --output "$output/vocabulary" --vocab-size 8000

text=()
for file in "$output"/text/train/*.txt; do text+=(--train "$file"); done
for file in "$output"/text/held_out/*.txt; do text+=(--validation "$file"); done
common=(pretraining "${text[@]}" --tokenizer "$output/vocabulary" --seed 0
  --optimizer adamw --batch-size 32 --max-length 128 --dtype bfloat16)

mobilebert train "${common[@]}" --config "$here/teacher.json" --steps 3200 --learning-rate 4e-4 \
  --output "$output/teacher"
mobilebert train "${common[@]}" --config nano --steps 4500 --learning-rate 7e-4 \
  --teacher "$output/teacher/model" --strategy progressive --output "$output/student"
mobilebert train "${common[@]}" --config nano --steps 4500 --learning-rate 7e-4 \
  --output "$output/alone"

rm -rf "$output/mobilebert-nano"
mobilebert convert "$output/student/model" "$output/mobilebert-nano" --head masked-lm --dtype float16
