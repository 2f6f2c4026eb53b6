"""`asr decode`: text from the log-probabilities of any CTC model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.decoding import Format, Nbest, check_format, with_decoding
from asr.cli.options import tell
from asr.errors import ConfigError, DataError, shown

if TYPE_CHECKING:
    from asr.decoder import Decoding
    from asr.decoding.hypothesis import Hypothesis


@with_decoding()
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
    *,
    decoding: "Decoding",
    nbest: Nbest = 1,
) -> int:
    """Search the log-probabilities of any CTC model, with a language model if you like."""
    from asr.decoder import build_search, weights_line
    from asr.decoding.batch import decode_each, ranks_by_length
    from asr.decoding.score_file import read_label_file, read_scores

    check_format(nbest, output_format)
    if not 0 < frame_seconds < float("inf"):
        raise ConfigError(f"--frame-seconds must be above 0, got {frame_seconds:g}")
    names = read_label_file(labels, blank=blank)
    arrays = read_scores(scores)
    for utterance, array in arrays.items():
        if array.shape[1] != len(names):
            raise DataError(
                f"{shown(scores)}: utterance '{shown(utterance)}' has scores of {array.shape[1]} "
                f"labels, but {shown(labels)} has {len(names)}; give the labels of the same model"
            )
    search = build_search(decoding, names, tell, vocabulary={})
    if decoding.lm is not None:
        tell(weights_line(search.fusion))
    found_each = decode_each(search, arrays, nbest=nbest, frame_seconds=frame_seconds)
    for name, found in found_each:
        for line in _lines(name, found, output_format, by_length=ranks_by_length(search)):
            print(line)
    return 0


def _lines(
    name: str, found: Sequence["Hypothesis"], output_format: Format, *, by_length: bool
) -> list[str]:
    """What was found in an utterance, the best first, for stdout."""
    from asr.decoding.hypothesis import ctm_lines
    from asr.decoding.nbest import nbest_entries

    if output_format is Format.json:
        entry = {"id": name, "nbest": nbest_entries(found, by_length=by_length)}
        return [json.dumps(entry, ensure_ascii=False)]
    if output_format is Format.ctm:
        return ctm_lines(name, found[0].words)
    return [f"{name}\t{found[0].text}"]
