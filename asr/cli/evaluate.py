"""`asr evaluate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asr.cli.bar import bar
from asr.cli.decoding import Nbest, check_search, with_decoding
from asr.cli.options import Device, tell
from asr.errors import ConfigError, shown

if TYPE_CHECKING:
    from asr.decoder import Decoding
    from asr.recognizer import Recognizer


@with_decoding()
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
        typer.Option(
            "--scores",
            help="File (.npz) for log-probabilities, and .labels.txt beside it, for asr decode.",
        ),
    ] = None,
    *,
    decoding: "Decoding",
    nbest: Nbest = 1,
    device: Device = "auto",
) -> int:
    """Transcribe a manifest and score it: error rates with intervals, the worst utterances."""
    from asr.evaluation import evaluate, write_results
    from asr.models.transducer import TransducerModel
    from asr.recognizer import load
    from asr.storage import write_atomically

    check_search(nbest, decoding)
    if nbest > 1 and out is None:
        raise ConfigError("--nbest needs --out, a folder for nbest.jsonl")
    recognizer = load(bundle, device=device, decoding=decoding, say=tell)
    if scores_file is not None and isinstance(recognizer.model, TransducerModel):
        raise ConfigError(
            "--scores has no effect on a transducer: what it says of a frame depends on the labels "
            "before, so that there are no scores of frames to write; use --nbest with --out"
        )
    scores: dict[str, Any] | None = None if scores_file is None else {}
    with bar("transcribing") as advance:
        result = evaluate(recognizer, manifest, advance, nbest=nbest, scores=scores)
    try:  # files first: whoever reads the report may leave off, as `head` does
        if out is not None:
            write_results(result, out)
            tell(f"written to {shown(out)}: hypotheses.jsonl, nbest.jsonl, words.ctm, report.txt")
        if json_file is not None:
            write_atomically(json_file, json.dumps(result.as_dict(), indent=1) + "\n")
            tell(f"written to {shown(json_file)}")
        if scores_file is not None and scores is not None:
            order = [u.id for u in result.utterances if u.id in scores]
            _write_scores(scores_file, {name: scores[name] for name in order}, recognizer)
    finally:  # even if a file cannot be written
        for line in result.complaints():
            tell(line)
        print(result.report())
    return result.exit_code


def _write_scores(file: Path, scores: dict[str, Any], recognizer: "Recognizer") -> None:
    """Write scores with the names of the labels, and say how to search them."""
    from asr.data.labels import labels_of
    from asr.decoding.score_file import write_label_file, write_scores

    names = file.with_name(file.name.removesuffix(".npz") + ".labels.txt")
    write_scores(file, scores)
    write_label_file(names, labels_of(recognizer.tokenizer.pieces, recognizer.tokenizer.symbols))
    tell(
        f"written to {shown(file)} and {shown(names)}; they are searched by: asr decode "
        f"{shown(file)} --labels {shown(names)} --frame-seconds {recognizer.frame_seconds:g}"
    )
