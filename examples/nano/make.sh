#!/usr/bin/env bash
# Makes mobilebert-nano from text: `bash examples/nano/make.sh DATA OUTPUT`, under two hours on two
# cores, the comparison with a teacher included. Given again after an interruption it goes on where it
# was. README.md here tells what each step is.
set -euo pipefail
data=$1 output=$2
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1  # each run has one core; another number rounds otherwise

python "$here/prepare_corpus.py" "$data" "$output/text"
mobilebert train-tokenizer "$output"/text/train/*.txt --output "$output/vocabulary" --vocab-size 8000

text=()
for file in "$output"/text/train/*.txt; do text+=(--train "$file"); done
for file in "$output"/text/held_out/*.txt; do text+=(--validation "$file"); done
common=("${text[@]}" --tokenizer "$output/vocabulary" --optimizer adamw --dtype bfloat16)

small() { # the shipped model: words and pairs in rows of 128 tokens, then words in rows of 256
  mobilebert train pretraining "${common[@]}" --config nano --steps 4500 --learning-rate 7e-4 \
    --batch-size 32 --max-length 128 --output "$output/first"
  local words=(masked-lm "${common[@]}" --learning-rate 7e-4 --batch-size 16 --max-length 256)
  mobilebert train "${words[@]}" --model "$output/first/model" --steps 4500 --seed 1 \
    --output "$output/second"
  mobilebert train "${words[@]}" --model "$output/second/model" --steps 4200 --seed 2 \
    --output "$output/third"
}

transfer() { # the comparison: a teacher, and the same student with and without it
  mobilebert train pretraining "${common[@]}" --config "$here/teacher.json" --steps 3200 \
    --learning-rate 4e-4 --evaluate-every 400 --batch-size 32 --max-length 128 --output "$output/teacher"
  local student=(pretraining "${common[@]}" --config nano --steps 1500 --learning-rate 7e-4
    --batch-size 32 --max-length 128 --evaluate-every 250)
  mobilebert train "${student[@]}" --teacher "$output/teacher/model" --strategy progressive \
    --output "$output/progressive"
  mobilebert train "${student[@]}" --output "$output/alone"
}

small & # beside each other, a core each
transfer &
wait -n && wait -n

rm -rf "$output/mobilebert-nano"
mobilebert convert "$output/third/model" "$output/mobilebert-nano" --head masked-lm --dtype float16
rm -f "$output"/mobilebert-nano/{tokenizer.json,special_tokens_map.json} # vocab.txt says it all
