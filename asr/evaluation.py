"""A manifest transcribed and scored, and the report of it."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.data.batching import AudioReader
from asr.data.manifest import Utterance, read_manifest
from asr.decoding.batch import recognize
from asr.decoding.hypothesis import Hypothesis
from asr.errors import AudioError, DataError, shown
from asr.recognizer import Recognizer
from asr.scoring.corpus import CorpusScore, score_corpus
from asr.storage import write_atomically

BATCH_SECONDS = 120.0  # of audio, padding included
