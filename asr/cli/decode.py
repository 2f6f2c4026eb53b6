"""`asr decode`: text from the log-probabilities of any CTC model."""

import json
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.decoding import (
    BeamSize,
    DecoderOption,
    Engine,
    FusionOption,
    Hotwords,
    Lexicon,
    Lm,
    LmUnit,
    LmWeight,
    Nbest,
    UnknownPenalty,
    WordBonus,
    decoding_of,
)
from asr.cli.options import tell
from asr.cli.transcribe import Format
from asr.errors import ConfigError


def decode_command(
    scores: Annotated[
        Path, typer.Argument(help="An .npz with log-probabilities (T, V) for each utterance.")
    ],
    labels: Annotated[
        Path, typer.Option("--labels", help="Text file of the V labels, one a line.")
    ],
    blank: Annotated[int, typer.Option("--blank", help="Line of the blank, from 0.")] = 0,
    frame_seconds: Annotated[
        float, typer.Option("--frame-seconds", help="Time between frames; default: count frames.")
    ] = 1.0,
    output_format: Annotated[
        Format, typer.Option("--format", help="txt, json (times, scores, n-best) or ctm.")
    ] = Format.txt,
    lm: Lm = None,
    lexicon: Lexicon = None,
    hotwords: Hotwords = None,
    lm_weight: LmWeight = None,
    word_bonus: WordBonus = None,
    unknown_penalty: UnknownPenalty = None,
    lm_unit: LmUnit = None,
    fusion: FusionOption = None,
    beam_size: BeamSize = None,
    decoder: DecoderOption = Engine.asr,
    nbest: Nbest = 1,
) -> int:
    """Search the log-probabilities of any CTC model, with a language model if you like."""
    from asr.decoder import build_search
    from asr.decoding.batch import decode_each
    from asr.decoding.hypothesis import ctm_lines
    from asr.decoding.score_file import read_label_file, read_scores

    decoding = decoding_of(
        1,
        lm=lm,
        lexicon=lexicon,
        hotwords=hotwords,
        lm_weight=lm_weight,
        word_bonus=word_bonus,
        unknown_penalty=unknown_penalty,
        lm_unit=lm_unit,
        fusion=fusion,
        beam_size=beam_size,
        engine=decoder,
    )
    if nbest > 1 and output_format is not Format.json:
        raise ConfigError("--nbest needs --format json, which has a place for them")
    if not 0 < frame_seconds < float("inf"):
        raise ConfigError(f"--frame-seconds must be above 0, got {frame_seconds:g}")
    search = build_search(decoding, read_label_file(labels, blank=blank), tell, vocabulary={})
    found_each = decode_each(search, read_scores(scores), nbest=nbest, frame_seconds=frame_seconds)
    for name, found in found_each:
        if output_format is Format.json:
            lists = [hypothesis.as_dict() for hypothesis in found]
            print(json.dumps({"id": name, "nbest": lists}, ensure_ascii=False))
        elif output_format is Format.ctm:
            for line in ctm_lines(name, found[0].words):
                print(line)
        else:
            print(f"{name}\t{found[0].text}")
    return 0
