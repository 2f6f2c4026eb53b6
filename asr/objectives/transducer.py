"""The RNN transducer: the cost of tokens, summed over all ways to emit them while reading frames.

    costs = transducer_loss(logits, targets, logit_lengths, target_lengths)

A network says at each node (t, u), after t frames and u tokens, what comes next: a token, or the
blank, which moves on to the next frame. Any number of tokens may come in a frame. The gradient with
respect to the logits is the node's occupancy times the probabilities, less the occupancies of the
two arcs that lead on.

The logits (B, T, U + 1, V) are what costs memory. `joint_transducer_loss` never holds them: it
computes those of some frames at a time, keeps three numbers a node, and computes them again for the
gradient, where the path may be: most nodes of a long utterance are so improbable that what they add
to the gradient is lost in rounding.

Reference: Graves, "Sequence transduction with recurrent neural networks", 2012.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from asr.objectives.targets import Outputs, check_tokens
from asr.objectives.transducer_nodes import Lattices


def transducer_loss(
    logits: Tensor,
    targets: Tensor,
    logit_lengths: Tensor,
    target_lengths: Tensor,
    *,
    blank: int = 0,
    ids: Sequence[str] | None = None,
) -> Tensor:
    """The cost of each utterance's targets: (B,) nats, neither averaged nor divided by a length.

    What lies beyond the lengths changes neither costs nor gradients.

    Args:
        logits: (B, T, U + 1, V) float32 or float64; the loss normalises them.
        targets: (B, U) int64 tokens without blank; what lies beyond each length is ignored.
        logit_lengths: (B,) int64 frames, each 1 to T.
        target_lengths: (B,) int64 tokens, each 0 to U. There may be more tokens than frames.
        blank: the symbol that moves on to the next frame.
        ids: names of the utterances, for errors.

    Raises:
        DataError: tokens outside the vocabulary, blanks as targets, or no frames.
        ValueError: shapes or lengths that do not fit together, or an empty batch.
        TypeError: other dtypes than those above.
    """
    if logits.dim() != 4:
        raise ValueError(f"logits must be (B, T, U + 1, V), got {tuple(logits.shape)}")
    batch, num_frames, columns, vocabulary_size = logits.shape
    _check_values("logits", logits)
    check_transducer_targets(
        logit_lengths,
        targets,
        target_lengths,
        Outputs(num_frames, vocabulary_size, blank, "logit_lengths"),
        ids=ids,
    )
    if len(targets) != batch or targets.shape[1] != columns - 1:
        raise ValueError(
            f"targets must be ({batch}, {columns - 1}) for these logits, got {tuple(targets.shape)}"
        )
    lattices = Lattices(targets, logit_lengths, target_lengths, blank)
    costs: Tensor = _FromLogits.apply(logits, lattices)  # type: ignore[no-untyped-call]
    return costs


def joint_transducer_loss(  # noqa: PLR0913 - a joint network, and what it joins
    joint: nn.Module,
    encoded: Tensor,
    predicted: Tensor,
    targets: Tensor,
    encoded_lengths: Tensor,
    target_lengths: Tensor,
    *,
    blank: int = 0,
    ids: Sequence[str] | None = None,
) -> Tensor:
    """As `transducer_loss(joint(encoded[:, :, None], predicted[:, None]), …)`, in little memory.

    The joint network runs twice, on some frames of an utterance at a time; padding is left out.

    Args:
        joint: (t, 1, E) and (1, U + 1, P) to logits (t, U + 1, V); nothing random in it, and all
            that it learns are its parameters.
        encoded: (B, T, E) what the encoder makes of the frames.
        predicted: (B, U + 1, P) what the prediction network makes of the tokens before each.
        targets: as for `transducer_loss`, like all that follow.
        encoded_lengths: (B,) int64 frames.
        target_lengths: (B,) int64 tokens.
        blank: the symbol that moves on to the next frame.
        ids: names of the utterances, for errors.

    Raises:
        DataError, ValueError, TypeError: as `transducer_loss`.
    """
    if encoded.dim() != 3 or predicted.dim() != 3 or len(encoded) != len(predicted):
        raise ValueError(
            "encoded must be (B, T, E) and predicted (B, U + 1, P), got "
            f"{tuple(encoded.shape)} and {tuple(predicted.shape)}"
        )
    _check_values("encoded", encoded)
    with torch.no_grad():
        vocabulary_size = joint(encoded[0, :1, None], predicted[0, None, :1]).shape[-1]
    check_transducer_targets(
        encoded_lengths,
        targets,
        target_lengths,
        Outputs(encoded.shape[1], vocabulary_size, blank, "encoded_lengths"),
        ids=ids,
    )
    if len(targets) != len(encoded) or targets.shape[1] != predicted.shape[1] - 1:
        raise ValueError(
            f"targets must be ({len(encoded)}, {predicted.shape[1] - 1}) for these predictions, "
            f"got {tuple(targets.shape)}"
        )
    lattices = Lattices(targets, encoded_lengths, target_lengths, blank)
    parameters = list(joint.parameters())
    costs: Tensor = _FromJoint.apply(  # type: ignore[no-untyped-call]
        joint, lattices, vocabulary_size, encoded, predicted, *parameters
    )
    return costs


class _FromLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, lattices: Lattices) -> Tensor:
        lattices.open(logits, logits.shape[1])
        for place in lattices.chunks(logits.shape[3]):
            lattices.note(place, logits[place.nodes])
        ctx.lattices = lattices
        ctx.save_for_backward(logits)
        return lattices.finish()

    @staticmethod
    def backward(ctx: Any, outgoing: Tensor) -> tuple[Tensor, None]:
        _check_first()
        (logits,) = ctx.saved_tensors
        gradient = torch.zeros_like(logits)
        for chunk in ctx.lattices.chunks(logits.shape[3]):
            place = ctx.lattices.probable(chunk)
            if place is not None:
                gradient[place.nodes] = logits[place.nodes]
                ctx.lattices.gradient(place, gradient[place.nodes], outgoing)
        return gradient, None


class _FromJoint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        joint: nn.Module,
        lattices: Lattices,
        vocabulary_size: int,
        encoded: Tensor,
        predicted: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        lattices.open(encoded, encoded.shape[1])
        ctx.width = max(vocabulary_size, encoded.shape[2], predicted.shape[2])
        ctx.joint, ctx.lattices = joint, lattices
        ctx.autocast = _autocast_of(encoded.device)
        for place in lattices.chunks(ctx.width):
            with ctx.autocast:
                logits = joint(encoded[place.frames][:, None], predicted[place.columns][None])
            lattices.note(place, logits.to(encoded.dtype))
        ctx.save_for_backward(encoded, predicted, *parameters)
        return lattices.finish()

    @staticmethod
    def backward(ctx: Any, outgoing: Tensor) -> tuple[Tensor | None, ...]:
        _check_first()
        encoded, predicted, *parameters = ctx.saved_tensors
        of_encoded, of_predicted = torch.zeros_like(encoded), torch.zeros_like(predicted)
        learnt = [tensor for tensor in parameters if tensor.requires_grad]
        sums = {id(tensor): torch.zeros_like(tensor) for tensor in learnt}
        for chunk in ctx.lattices.chunks(ctx.width):
            place = ctx.lattices.probable(chunk)
            if place is None:
                continue
            frames = encoded[place.frames].detach().requires_grad_()
            histories = predicted[place.columns].detach().requires_grad_()
            with torch.enable_grad(), ctx.autocast:
                logits = ctx.joint(frames[:, None], histories[None])
            own = logits.detach().to(encoded.dtype, copy=True)
            gradient = ctx.lattices.gradient(place, own, outgoing).to(logits.dtype)
            parts = torch.autograd.grad(
                logits, [frames, histories, *learnt], gradient, materialize_grads=True
            )
            of_encoded[place.frames] += parts[0]
            of_predicted[place.columns] += parts[1]
            for tensor, part in zip(learnt, parts[2:], strict=True):
                sums[id(tensor)] += part
        of_parameters = [sums.get(id(tensor)) for tensor in parameters]
        return None, None, None, of_encoded, of_predicted, *of_parameters


def _check_first() -> None:
    """Return when no graph of a gradient is asked for; `once_differentiable` would miss some.

    Raises:
        RuntimeError: one is.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the transducer's loss has no second derivative: go backward without create_graph=True"
        )


def _autocast_of(device: torch.device) -> torch.autocast:
    """What autocast does on a device now, to be done again.

    Its cache would keep weights that were rounded without a graph, for the run that needs one.
    """
    return torch.autocast(
        device.type,
        dtype=torch.get_autocast_dtype(device.type),
        enabled=torch.is_autocast_enabled(device.type),
        cache_enabled=False,
    )


def check_transducer_targets(
    frames: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    outputs: Outputs,
    *,
    ids: Sequence[str] | None = None,
) -> None:
    """Return when a transducer can emit every utterance's targets: other tokens, one frame or more.

    Args:
        frames: (B,) int64 frames of each utterance.
        targets: (B, U) int64 tokens, padded with anything.
        target_lengths: (B,) int64 tokens of each utterance.
        outputs: frames of the padded batch, size of the vocabulary, and the blank.
        ids: names of the utterances, for errors; their numbers in the batch without.

    Raises:
        DataError: a token outside the vocabulary, a blank among the targets, or no frames.
        ValueError: shapes or lengths that do not fit together.
        TypeError: tensors that are not int64.
    """
    check_tokens(
        frames,
        targets,
        target_lengths,
        outputs,
        needed=lambda targets, _: torch.ones(len(targets), dtype=torch.int64),
        too_short=lambda *_: "has no frames",
        ids=ids,
    )


def _check_values(name: str, tensor: Tensor) -> None:
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {tensor.dtype}")
    if len(tensor) == 0:
        raise ValueError(f"{name} must be of one utterance or more, got {tuple(tensor.shape)}")
