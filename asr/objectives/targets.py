"""What every objective over token sequences demands of its targets, and how it says so."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from asr.errors import DataError, shown

NAMED = 5  # utterances that an error message describes; the others are counted


class Outputs(NamedTuple):
    """What a network puts out: T frames with padding, V symbols, one of which is the blank."""

    num_frames: int
    vocabulary_size: int
    blank: int
    lengths: str = "log_prob_lengths"  # what the caller calls the frames of each utterance


def check_tokens(
    lengths: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    outputs: Outputs,
    *,
    needed: Callable[[Tensor, Tensor], Tensor],
    too_short: Callable[[int, int, int], str],
    ids: Sequence[str] | None = None,
) -> None:
    """Return when all targets are tokens and every utterance has the frames that they need.

    Args:
        lengths: (B,) int64 frames of each utterance.
        targets: (B, U) int64 tokens, padded with anything.
        target_lengths: (B,) int64 tokens of each utterance.
        outputs: of the network.
        needed: (B,) frames for targets (B, U) of which (B, U) are inside.
        too_short: what to say of an utterance with too few frames, from those that it has, its
            tokens, and the frames that they need.
        ids: names of the utterances, for errors; their numbers in the batch without.

    Raises:
        DataError: a token outside the vocabulary, a blank among the targets, or too few frames.
        ValueError: shapes or lengths that do not fit together, or no such blank.
        TypeError: tensors that are not int64.
    """
    lengths, targets, target_lengths = lengths.cpu(), targets.cpu(), target_lengths.cpu()
    _, vocabulary_size, blank, _ = outputs
    _check_shapes(lengths, targets, target_lengths, outputs)
    if not 0 <= blank < vocabulary_size:
        raise ValueError(f"blank must be 0 to {vocabulary_size - 1}, got {blank}")
    if ids is not None and len(ids) != len(targets):
        raise ValueError(f"{len(ids)} ids for {len(targets)} utterances")
    inside = torch.arange(targets.shape[1]) < target_lengths[:, None]
    strange = inside & ((targets < 0) | (targets >= vocabulary_size) | (targets == blank))
    minimum = needed(targets, inside)
    faulty = strange.any(dim=1) | (lengths < minimum)
    if not faulty.any():
        return
    described = []
    for index in faulty.nonzero().flatten().tolist()[:NAMED]:
        name = f"'{shown(ids[index])}'" if ids is not None else f"{index} of the batch"
        outside = targets[index][strange[index]].tolist()
        counts = (int(lengths[index]), int(target_lengths[index]), int(minimum[index]))
        problem = _outside(outside, vocabulary_size, blank) if outside else too_short(*counts)
        described.append(f"utterance {name} {problem}")
    others = int(faulty.sum()) - len(described)
    raise DataError("; ".join(described) + (f"; and {others} more utterances" if others else ""))


def _outside(tokens: list[int], vocabulary_size: int, blank: int) -> str:
    listed = ", ".join(str(token) for token in sorted(set(tokens))[:NAMED])
    return (
        f"has targets outside the vocabulary ({listed}): tokens are 0 to {vocabulary_size - 1} "
        f"without the blank {blank}. Was the text encoded with the model's own tokenizer?"
    )


def _check_shapes(
    frames: Tensor, targets: Tensor, target_lengths: Tensor, outputs: Outputs
) -> None:
    for name, tensor in (
        (outputs.lengths, frames),
        ("targets", targets),
        ("target_lengths", target_lengths),
    ):
        if tensor.dtype != torch.int64:
            raise TypeError(f"{name} must be int64, got {tensor.dtype}")
    if targets.dim() != 2:
        raise ValueError(f"targets must be (B, U), got {tuple(targets.shape)}")
    batch, longest = targets.shape
    for name, lengths, limit in (
        (outputs.lengths, frames, outputs.num_frames),
        ("target_lengths", target_lengths, longest),
    ):
        if lengths.shape != (batch,):
            raise ValueError(f"{name} must be ({batch},), got {tuple(lengths.shape)}")
        if ((lengths < 0) | (lengths > limit)).any():
            raise ValueError(f"{name} must be 0 to {limit}, got {lengths.tolist()}")
