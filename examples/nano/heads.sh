#!/usr/bin/env bash
# Fine-tunes mobilebert-nano on emotions and entities: `bash examples/nano/heads.sh DATA OUTPUT`, after
# make.sh. The models are those that `benchmarks/fine_tuning.py` measures next to random weights and bags
# of words; the same command again goes on where it was.
set -euo pipefail
data=$1 output=$2
here=$(cd "$(dirname "$0")" && pwd)

python "$here/../../benchmarks/fine_tuning.py" --data "$data" --output "$output/fine-tuned" --seed 1 \
  --model "$output/mobilebert-nano" --task GoEmotions --task WNUT

while read -r task name; do
  rm -rf "$output/mobilebert-nano-$name"
  mobilebert convert "$output"/fine-tuned/"$task"-nano-*/model "$output/mobilebert-nano-$name" --dtype float16
  rm -f "$output/mobilebert-nano-$name"/{tokenizer.json,special_tokens_map.json} # vocab.txt says it all
done <<<$'goemotions emotions\nwnut-17 entities'
