#!/usr/bin/env bash
# Fine-tunes mobilebert-nano on emotions and entities: `bash examples/nano/heads.sh DATA OUTPUT`, after
# make.sh. The models are those that `benchmarks/fine_tuning.py` measures next to random weights and bags
# of words; the same command again goes on where it was.
set -euo pipefail
data=$1 output=$2
here=$(cd "$(dirname "$0")" && pwd)

results=$output/fine-tuned.json
python "$here/../../benchmarks/fine_tuning.py" --data "$data" --output "$output/fine-tuned" --seed 1 \
  --model "$output/mobilebert-nano" --task GoEmotions --task WNUT --json >"$results" ||
  [ $? -eq 1 ] # 1: one of them is not clearly better than random weights; it is in the file
[ -s "$results" ] # nothing: the program itself failed

model_of() { # the folder of the model that was measured
  python - "$results" "$1" <<'PYTHON'
import json, sys

rows = json.load(open(sys.argv[1]))["rows"]
print(next(row["model"] for row in rows if row["task"] == sys.argv[2]))
PYTHON
}

while read -r task name; do
  model=$(model_of "$task")
  rm -rf "$output/mobilebert-nano-$name"
  mobilebert convert "$output/fine-tuned/$model" "$output/mobilebert-nano-$name" --dtype float16
  rm -f "$output/mobilebert-nano-$name"/{tokenizer.json,special_tokens_map.json} # vocab.txt says it all
done <<<$'GoEmotions emotions\nWNUT-17 entities'
