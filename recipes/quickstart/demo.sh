#!/bin/sh
# What `make demo` runs after installing: prepare, train, evaluate, transcribe.
# Usage: demo.sh BIN, the folder of the installed `asr`.
set -eu
asr="$1/asr"
run=exp/quickstart/default
data=data/quickstart

"$asr" prepare recipes/quickstart
"$asr" train recipes/quickstart
"$asr" evaluate "$run/best" "$data/test.jsonl" --out "$run/test" --json "$run/test.json"

# One test file and its reference, for a look.
"$1/python" - "$data" "$run" "$asr" <<'PYTHON'
import json
import subprocess
import sys
from pathlib import Path

data, run, asr = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
line = (data / "test.jsonl").open(encoding="utf-8").readline()
utterance = json.loads(line)
audio = data / utterance["audio_filepath"]
command = [asr, "transcribe", str(audio)]
text = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
scores = json.loads((run / "test.json").read_text(encoding="utf-8"))
print(f"""
test WER {100 * scores["wer"]:.1f} %, CER {100 * scores["cer"]:.1f} % without a language model
    reference:  {utterance["text"]}
    transcript: {text}

Try next:
    {asr} transcribe {audio} --format json
    {asr} info {run}/best
    {asr} train recipes/an4        (downloads 64 MB)""")
PYTHON
