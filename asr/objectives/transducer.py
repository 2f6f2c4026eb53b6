"""The RNN transducer: the cost of tokens, summed over all ways to emit them while reading frames.

    costs = transducer_loss(logits, targets, logit_lengths, target_lengths)

A network says at each node (t, u), after t frames and u tokens, what comes next: a token, or the
blank, which moves on to the next frame. Any number of tokens may come in a frame. The gradient with
respect to the logits is the node's occupancy times the probabilities, less the occupancies of the
two arcs that lead on.

The logits (B, T, U + 1, V) are what costs memory. `joint_transducer_loss` never holds them: it
computes those of some frames at a time, keeps three numbers a node, and computes them again for the
gradient.

Reference: Graves, "Sequence transduction with recurrent neural networks", 2012.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from asr.objectives.targets import Outputs, check_tokens
from asr.objectives.transducer_lattice import occupancies

CHUNK_VALUES = 1 << 22  # logits at a time: 16 MB, which a processor's cache can nearly hold


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
    _check_dtype("logits", logits)
    check_transducer_targets(
        logit_lengths,
        targets,
        target_lengths,
        num_frames=num_frames,
        vocabulary_size=vocabulary_size,
        blank=blank,
        ids=ids,
    )
    if len(targets) != batch or targets.shape[1] != columns - 1:
        raise ValueError(
            f"targets must be ({batch}, {columns - 1}) for these logits, got {tuple(targets.shape)}"
        )
    lattices = _Lattices(targets, logit_lengths, target_lengths, blank)
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
    _check_dtype("encoded", encoded)
    if encoded.dim() != 3 or predicted.dim() != 3 or len(encoded) != len(predicted):
        raise ValueError(
            "encoded must be (B, T, E) and predicted (B, U + 1, P), got "
            f"{tuple(encoded.shape)} and {tuple(predicted.shape)}"
        )
    with torch.no_grad():
        vocabulary_size = joint(encoded[:1, :1, None], predicted[:1, None, :1]).shape[-1]
    check_transducer_targets(
        encoded_lengths,
        targets,
        target_lengths,
        num_frames=encoded.shape[1],
        vocabulary_size=vocabulary_size,
        blank=blank,
        ids=ids,
    )
    if len(targets) != len(encoded) or targets.shape[1] != predicted.shape[1] - 1:
        raise ValueError(
            f"targets must be ({len(encoded)}, {predicted.shape[1] - 1}) for these predictions, "
            f"got {tuple(targets.shape)}"
        )
    lattices = _Lattices(targets, encoded_lengths, target_lengths, blank)
    parameters = list(joint.parameters())
    costs: Tensor = _FromJoint.apply(  # type: ignore[no-untyped-call]
        joint, lattices, vocabulary_size, encoded, predicted, *parameters
    )
    return costs


class _Lattices:
    """The sizes and tokens of a batch, and which frames of it are computed together."""

    def __init__(self, targets: Tensor, frames: Tensor, emitted: Tensor, blank: int) -> None:
        self.targets, self.blank = targets, blank
        self.frames, self.emitted = frames.cpu(), emitted.cpu()

    def chunks(self, width: int) -> Iterator[tuple[int, int, int, int]]:
        """(utterance, first frame, frame after the last, tokens); `width`: values of a node."""
        sizes = zip(self.frames.tolist(), self.emitted.tolist(), strict=True)
        for b, (frames, emitted) in enumerate(sizes):
            at_once = max(1, CHUNK_VALUES // (width * (emitted + 1)))
            for begin in range(0, frames, at_once):
                yield b, begin, min(begin + at_once, frames), emitted

    def tokens(self, b: int, emitted: int, device: torch.device) -> Tensor:
        """(U,) the targets of an utterance."""
        return self.targets[b, :emitted].to(device)


class _Nodes:
    """What is kept of each node: its normaliser, and how probable its two arcs turned out.

    Attributes:
        normalisers: (B, T, U + 1) ln of the sum of the exponentials of the logits.
        blanks, tokens: (B, T, U + 1) and (B, T, U), log-probabilities, then those of the arcs.
    """

    def __init__(self, shape: tuple[int, int, int], like: Tensor) -> None:
        batch, num_frames, columns = shape
        self.normalisers = like.new_zeros(shape)
        self.blanks = like.new_zeros(shape)
        self.tokens = like.new_zeros((batch, num_frames, columns - 1))

    def note(self, where: tuple[int, int, int, int], logits: Tensor, lattices: _Lattices) -> None:
        """Keep what is needed of the logits (t, U + 1, V) of a chunk."""
        b, begin, end, emitted = where
        normalisers = logits.logsumexp(dim=-1)
        self.normalisers[b, begin:end, : emitted + 1] = normalisers
        blanks = logits[..., lattices.blank] - normalisers
        self.blanks[b, begin:end, : emitted + 1] = blanks
        index = lattices.tokens(b, emitted, logits.device).expand(end - begin, -1)[..., None]
        chosen = logits[:, :emitted].gather(-1, index)[..., 0]
        self.tokens[b, begin:end, :emitted] = chosen - normalisers[:, :emitted]

    def finish(self, lattices: _Lattices) -> Tensor:
        """(B,) costs; the log-probabilities give way to the probabilities of the arcs."""
        costs, through_blanks, through_tokens = occupancies(
            self.blanks, self.tokens, lattices.frames, lattices.emitted
        )
        kind = self.blanks.dtype
        self.blanks, self.tokens = through_blanks.to(kind), through_tokens.to(kind)
        return costs.to(kind)

    def gradient(
        self,
        where: tuple[int, int, int, int],
        logits: Tensor,
        lattices: _Lattices,
        outgoing: Tensor,
    ) -> Tensor:
        """That of the costs by the logits of a chunk, times `outgoing` (B,); written over them."""
        b, begin, end, emitted = where
        blanks = self.blanks[b, begin:end, : emitted + 1] * outgoing[b]
        tokens = self.tokens[b, begin:end, :emitted] * outgoing[b]
        occupied = blanks.clone()
        occupied[:, :emitted] += tokens
        logits.sub_(self.normalisers[b, begin:end, : emitted + 1, None]).exp_()
        logits.mul_(occupied[..., None])
        logits[..., lattices.blank] -= blanks
        index = lattices.tokens(b, emitted, logits.device).expand(end - begin, -1)[..., None]
        logits[:, :emitted].scatter_add_(-1, index, -tokens[..., None])
        return logits


class _FromLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, lattices: _Lattices) -> Tensor:
        nodes = _Nodes(logits.shape[:3], logits)  # type: ignore[arg-type]
        for where in lattices.chunks(logits.shape[3]):
            b, begin, end, emitted = where
            nodes.note(where, logits[b, begin:end, : emitted + 1], lattices)
        ctx.lattices, ctx.nodes = lattices, nodes
        ctx.save_for_backward(logits)
        return nodes.finish(lattices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outgoing: Tensor) -> tuple[Tensor, None]:
        (logits,) = ctx.saved_tensors
        gradient = torch.zeros_like(logits)
        for where in ctx.lattices.chunks(logits.shape[3]):
            b, begin, end, emitted = where
            own = gradient[b, begin:end, : emitted + 1]
            own.copy_(logits[b, begin:end, : emitted + 1])
            ctx.nodes.gradient(where, own, ctx.lattices, outgoing)
        return gradient, None


class _FromJoint(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        joint: nn.Module,
        lattices: _Lattices,
        vocabulary_size: int,
        encoded: Tensor,
        predicted: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        shape = (*encoded.shape[:2], predicted.shape[1])
        nodes = _Nodes(shape, encoded)
        ctx.width = max(vocabulary_size, encoded.shape[2], predicted.shape[2])
        for where in lattices.chunks(ctx.width):
            b, begin, end, emitted = where
            logits = joint(encoded[b, begin:end, None], predicted[b, None, : emitted + 1])
            nodes.note(where, logits.to(encoded.dtype), lattices)
        ctx.joint, ctx.lattices, ctx.nodes = joint, lattices, nodes
        ctx.autocast = _autocast_of(encoded.device)
        ctx.save_for_backward(encoded, predicted, *parameters)
        return nodes.finish(lattices)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outgoing: Tensor) -> tuple[Tensor | None, ...]:
        encoded, predicted, *parameters = ctx.saved_tensors
        sums = [torch.zeros_like(tensor) for tensor in (encoded, predicted, *parameters)]
        learnt = [tensor for tensor in parameters if tensor.requires_grad]
        of_learnt = [
            total
            for total, tensor in zip(sums[2:], parameters, strict=True)
            if tensor.requires_grad
        ]
        for where in ctx.lattices.chunks(ctx.width):
            b, begin, end, emitted = where
            frames = encoded[b, begin:end].detach().requires_grad_()
            histories = predicted[b, : emitted + 1].detach().requires_grad_()
            with torch.enable_grad(), ctx.autocast:
                logits = ctx.joint(frames[:, None], histories[None])
            own = logits.detach().to(encoded.dtype, copy=True)
            gradient = ctx.nodes.gradient(where, own, ctx.lattices, outgoing).to(logits.dtype)
            parts = torch.autograd.grad(logits, [frames, histories, *learnt], gradient)
            sums[0][b, begin:end] += parts[0]
            sums[1][b, : emitted + 1] += parts[1]
            for total, part in zip(of_learnt, parts[2:], strict=True):
                total += part
        return (None, None, None, *sums)


def _autocast_of(device: torch.device) -> torch.autocast:
    """What autocast does on a device now, to be done again."""
    return torch.autocast(
        device.type,
        dtype=torch.get_autocast_dtype(device.type),
        enabled=torch.is_autocast_enabled(device.type),
    )


def check_transducer_targets(
    frames: Tensor,
    targets: Tensor,
    target_lengths: Tensor,
    *,
    num_frames: int,
    vocabulary_size: int,
    blank: int = 0,
    ids: Sequence[str] | None = None,
) -> None:
    """Return when a transducer can emit every utterance's targets: other tokens, one frame or more.

    Args:
        frames: (B,) int64 frames of each utterance.
        targets: (B, U) int64 tokens, padded with anything.
        target_lengths: (B,) int64 tokens of each utterance.
        num_frames: T, frames of the padded batch.
        vocabulary_size: V, blank included.
        blank: the symbol that no target may be.
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
        Outputs(num_frames, vocabulary_size, blank),
        needed=lambda targets, _: torch.ones(len(targets), dtype=torch.int64),
        too_short=lambda *_: "has no frames",
        ids=ids,
    )


def _check_dtype(name: str, tensor: Tensor) -> None:
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name} must be float32 or float64, got {tensor.dtype}")
