"""`asr evaluate`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from asr.cli.bar import bar
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
from asr.cli.options import Device, tell
from asr.errors import ConfigError


def evaluate_command(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as exp/an4/default/best.")],
    manifest: Annotated[Path, typer.Argument(help="A manifest, such as data/an4/test.jsonl.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder for hypotheses.jsonl, nbest.jsonl, words.ctm and report.txt."
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the scores as JSON.")
    ] = None,
    scores_file: Annotated[
        Path | None,
        typer.Option("--scores", help="File (.npz) for the log-probabilities, for asr decode."),
    ] = None,
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
    device: Device = "auto",
) -> int:
    """Transcribe a manifest and score it: WER and CER with intervals, the worst utterances."""
    from asr.decoding.score_file import write_scores
    from asr.evaluation import evaluate, write_results
    from asr.recognizer import load

    decoding = decoding_of(
        nbest,
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
    if nbest > 1 and out is None:
        raise ConfigError("--nbest needs --out, a folder for nbest.jsonl")
    recognizer = load(bundle, device=device, decoding=decoding, say=tell)
    scores: dict[str, Any] | None = None if scores_file is None else {}
    with bar("transcribing") as advance:
        result = evaluate(recognizer, manifest, advance, nbest=nbest, scores=scores)
    if scores_file is not None and scores is not None:
        ordered = (utterance.id for utterance in result.utterances)
        write_scores(scores_file, {name: scores[name] for name in ordered if name in scores})
    print(result.report())
    if out is not None:
        write_results(result, out)
        print(f"written to {out}", file=sys.stderr)
    if json_file is not None:
        from asr.storage import write_atomically

        write_atomically(json_file, json.dumps(result.as_dict(), indent=1) + "\n")
    return result.exit_code
