"""Sequence to sequence learning with neural networks (Sutskever, Vinyals & Le 2014).

One deep LSTM reads the source, word by word; what its layers then hold (c and h of each) is all
that a second deep LSTM, with weights of its own, gets to know of it. That one says the target:

    s_0 = 0,    s_j = LSTM_source(E_source[x_{S+1-j}], s_{j-1}),  j = 1 … S     (reversed)
    d_0 = s_S,  d_u = LSTM_target(E_target[y_{u-1}], d_{u-1}),    y_0 = the boundary
    p(y_u | y_<u, x) = softmax(W h_u + b),  h_u of the top layer of d_u

Token 0 is the boundary: the first input of the decoder, and after the last word the end.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.models.lstm import RecurrentStack
from asr.models.stepping import start_states, step
from asr.models.weights import LayerWeights

BOUNDARY = 0
CLOSED = -1e4  # what closes a gate: the sigmoid of it is 0 to the last bit


class SequenceToSequence(nn.Module):
    """The encoder and the decoder.

    Args:
        source_size: tokens of the source, all kinds included.
        target_size: V, tokens of the target, the boundary included.
        embedding_size: of the vectors that tokens become.
        hidden_size: H, cells of each layer.
        num_layers: L of the encoder, and as many of the decoder.
        dropout: in training, the probability that an input of a layer, or of the softmax, is zero;
            what goes from step to step is kept.
        reverse_source: whether the encoder reads the source from its end.
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        embedding_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float = 0.0,
        reverse_source: bool = True,
    ) -> None:
        super().__init__()
        self.reverse_source, self.dropout = reverse_source, dropout
        self.source_embedding = nn.Embedding(source_size, embedding_size)
        self.encoder = RecurrentStack(
            embedding_size, hidden_size, num_layers, bidirectional=False, dropout=dropout
        )
        self.target_embedding = nn.Embedding(target_size, embedding_size)
        self.decoder = RecurrentStack(
            embedding_size, hidden_size, num_layers, bidirectional=False, dropout=dropout
        )
        self.output = nn.Linear(hidden_size, target_size)

    def encode(self, source: Tensor, lengths: Tensor) -> Tensor:
        """The sentence vectors s_S.

        Args:
            source: (B, S) int64 tokens in the order of the text; what is beyond each length has no
                effect.
            lengths: (B,) int64, 0 to S.

        Returns:
            (B, L, 2, H): of every layer h and c after the last token. The sentence vector of the
            paper, 8000 numbers with 4 layers of 1000 cells.
        """
        ordered, padding = ending_together(source, lengths, reverse=self.reverse_source)
        start = start_states(self.encoder, len(source))
        return run_stack(self.encoder, self.source_embedding(ordered), start, padding)[1]

    def decode(self, target: Tensor, states: Tensor) -> Tensor:
        """The top layer after the boundary and every token: (B, U + 1, H).

        Args:
            target: (B, U) int64.
            states: (B, L, 2, H) from `encode`.
        """
        inputs = self.target_embedding(F.pad(target, (1, 0), value=BOUNDARY))
        hidden = run_stack(self.decoder, self._dropped(inputs), states)[0]
        return self._dropped(hidden)

    def token_log_probs(
        self, source: Tensor, source_lengths: Tensor, target: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """Log-probabilities p(y_u | y_<u, x) of all tokens of each target and of its end.

        Args:
            source: (B, S) int64.
            source_lengths: (B,) int64.
            target: (B, U) int64; what is beyond each length has no effect.
            target_lengths: (B,) int64, 0 to U.

        Returns:
            (B, U + 1) float32 (or the weights' float64), zero beyond the end.
        """
        hidden = self.decode(target, self.encode(source, source_lengths))
        places = torch.arange(hidden.shape[1], device=target.device)
        real = places <= target_lengths.unsqueeze(1)
        wanted = F.pad(target, (0, 1)).masked_fill(places == target_lengths.unsqueeze(1), BOUNDARY)
        # The softmax of the real places alone: it is most of the work with 80,000 words.
        losses = F.cross_entropy(_logits(self.output(hidden[real])), wanted[real], reduction="none")
        log_probs = losses.new_zeros(real.shape)
        log_probs[real] = -losses
        return log_probs

    def losses(
        self, source: Tensor, source_lengths: Tensor, target: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """(B,) -ln p(y | x): summed over the tokens and the end of a target, means over nothing."""
        return -self.token_log_probs(source, source_lengths, target, target_lengths).sum(dim=1)

    def step(self, tokens: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """One more token of each target, of which the first is the boundary. No dropout.

        Args:
            tokens: (K,) int64.
            states: (K, L, 2, H) from `encode` or `step`.

        Returns:
            (K, V) log-probabilities of what follows, and the states after the token.
        """
        hidden, states = step(self.decoder, self.target_embedding(tokens), states)
        return torch.log_softmax(_logits(self.output(hidden)), dim=1), states

    def _dropped(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training) if self.dropout else values


def ending_together(source: Tensor, lengths: Tensor, *, reverse: bool) -> tuple[Tensor, Tensor]:
    """The sources moved so that all of them end at the last place, perhaps reversed.

    Args:
        source: (B, S), padded at the end.
        lengths: (B,).
        reverse: whether each is reversed, by its own length.

    Returns:
        (B, S) tokens, padded at the beginning; and (B, S) bool, where the padding is.
    """
    size = source.shape[1]
    places = torch.arange(size, device=source.device)
    padding = places < size - lengths.unsqueeze(1)
    if reverse:
        return source.flip(1), padding
    moved = (places - (size - lengths.unsqueeze(1))).clamp(min=0)
    return source.gather(1, moved), padding


def run_stack(
    stack: RecurrentStack, inputs: Tensor, states: Tensor, padding: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A stack over whole sequences, from given states, and its states after the last step.

    Padding goes first and leaves a state of zeros as it is: it closes the input gate, so that
    c = f * 0 + 0 and h = o * tanh(0).

    Args:
        stack: of LSTM layers, reading from left to right only.
        inputs: (B, T, F).
        states: (B, L, 2, H) before the first step; zeros where there is padding.
        padding: (B, T) bool, at the beginnings; None: there is none.

    Returns:
        What the top layer gives (B, T, H), and the states (B, L, 2, H) after the last step.
    """
    values = inputs.transpose(0, 1)  # as the kernels want them
    closing = None
    if padding is not None and bool(padding.any()):
        closing = padding.t().unsqueeze(2).to(values.dtype)
    compute = lstm_by_torch if inputs.is_cuda else lstm_by_steps
    after = []
    for index, layer in enumerate(stack.layers):
        if index and stack.dropout:
            values = F.dropout(values, stack.dropout, stack.training)
        if len(values):
            weights = layer.weights()  # type: ignore[operator]
            values, last = compute(values, states[:, index], weights, closing)
        else:
            values, last = values.new_zeros(0, *states[:, index, 0].shape), states[:, index]
        after.append(last)
    return values.transpose(0, 1), torch.stack(after, dim=1)


def lstm_by_steps(
    values: Tensor, state: Tensor, weights: LayerWeights, closing: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One layer, step by step: on a CPU as fast as torch's kernel.

    Args:
        values: (T, B, F), T at least 1.
        state: (B, 2, H) h and c before the first step.
        weights: of the layer.
        closing: (T, B, 1) one where the input gate is closed, else zero; None: nowhere.

    Returns:
        (T, B, H) h of each step, and (B, 2, H) h and c after the last.
    """
    gates = F.linear(values, weights.input[0], weights.bias[0])
    if closing is not None:
        gates[:, :, : gates.shape[2] // 4] += closing * CLOSED  # the first quarter: i, f, g, o
    hidden, cell = state.unbind(1)
    recurrent = weights.recurrent[0].t()
    outputs = []
    for projected in gates.unbind(0):
        i, f, g, o = torch.addmm(projected, hidden, recurrent).chunk(4, dim=1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        outputs.append(hidden)
    return torch.stack(outputs), torch.stack((hidden, cell), dim=1)


def lstm_by_torch(
    values: Tensor, state: Tensor, weights: LayerWeights, closing: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As `lstm_by_steps`, by torch's kernel: on a GPU all steps at once."""
    matrix, recurrent, bias = weights.input[0], weights.recurrent[0], weights.bias[0]
    if closing is not None:  # one more input, which the input gate alone listens to
        listens = matrix.new_zeros(len(matrix), 1)
        listens[: len(matrix) // 4] = CLOSED
        values, matrix = torch.cat((values, closing), dim=2), torch.cat((matrix, listens), dim=1)
    start = [part.contiguous().unsqueeze(0) for part in state.unbind(1)]
    parameters = [matrix, recurrent, bias, torch.zeros_like(bias)]  # torch wants two biases
    # Has biases, 1 layer, no dropout, in training (cuDNN keeps what a gradient needs), one
    # direction, frames first.
    outputs, hidden, cell = torch.lstm(values, start, parameters, True, 1, 0.0, True, False, False)
    return outputs, torch.cat((hidden, cell)).transpose(0, 1)


def _logits(values: Tensor) -> Tensor:
    """In float32 at least, whatever autocast makes of it: a difference of large numbers."""
    return values if values.dtype == torch.float64 else values.float()
