import pytest
import torch
from pydantic import ValidationError
from torch import nn

from asr.models.lstm import EncoderConfig, RecurrentLayer, RecurrentStack
from tests.models.recurrent_reference import reference

CELLS = ["lstm", "peephole", "gru", "tanh", "leaky"]
LENGTHS = [3, 7, 0, 1, 5]


def stack_of(cell, *, input_size=4, hidden_size=3, num_layers=2, dtype=torch.float64, **options):
    torch.manual_seed(1)
    options = {"leak": 0.3 if cell == "leaky" else 0.0} | options
    stack = RecurrentStack(input_size, hidden_size, num_layers, cell=cell, **options).to(dtype)
    for layer in stack.layers:
        nn.init.normal_(layer.bias)
        if layer.peepholes is not None:
            nn.init.normal_(layer.peepholes)
    return stack


def batch_of(size=4, dtype=torch.float64):
    torch.manual_seed(2)
    return torch.randn(len(LENGTHS), 8, size, dtype=dtype, requires_grad=True)


def gradients(output, stack, features):
    """Of a sum that weighs every output differently, for the input and every weight."""
    stack.zero_grad()
    features.grad = None
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    (output * weights).sum().backward()
    return [features.grad, *(parameter.grad for parameter in stack.parameters())]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_its_equations(cell, bidirectional):
    stack, features = stack_of(cell, bidirectional=bidirectional), batch_of()
    output = stack(features, torch.tensor(LENGTHS))
    expected = reference(stack, features, LENGTHS)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    pairs = zip(
        gradients(output, stack, features), gradients(expected, stack, features), strict=True
    )
    for own, theirs in pairs:
        torch.testing.assert_close(own, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_gradcheck(cell):
    stack = stack_of(cell, input_size=2, hidden_size=2)
    features = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in stack.named_parameters()]

    def run(features, *weights):
        arguments = (features, torch.tensor([3, 2]))
        return torch.func.functional_call(stack, dict(zip(names, weights, strict=True)), arguments)

    weights = [parameter.detach().requires_grad_() for parameter in stack.parameters()]
    assert torch.autograd.gradcheck(run, (features, *weights))


def copied(lstm: nn.LSTM, stack: RecurrentStack) -> None:
    """torch's weights in the stack; its two biases only ever count as their sum."""
    with torch.no_grad():
        for number, layer in enumerate(stack.layers):
            for direction, suffix in enumerate(("", "_reverse")):
                names = (f"{kind}_l{number}{suffix}" for kind in ("weight_ih", "weight_hh"))
                layer.input_weight[direction], layer.recurrent_weight[direction] = (
                    getattr(lstm, name) for name in names
                )
                layer.bias[direction] = sum(
                    getattr(lstm, f"bias_{kind}_l{number}{suffix}") for kind in ("ih", "hh")
                )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_without_peepholes_it_is_torchs_lstm(cell, dtype):
    torch.manual_seed(1)
    lstm = nn.LSTM(5, 6, 2, bidirectional=True, batch_first=True).to(dtype)
    stack = RecurrentStack(5, 6, 2, cell=cell).to(dtype)  # peepholes begin at zero
    copied(lstm, stack)
    features = torch.randn(3, 7, 5, dtype=dtype, requires_grad=True)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    output = stack(features, torch.full((3,), 7))
    torch.testing.assert_close(output, lstm(features)[0], rtol=0, atol=tolerance)
    (own,) = torch.autograd.grad(output.square().sum(), features)
    (theirs,) = torch.autograd.grad(lstm(features)[0].square().sum(), features)
    torch.testing.assert_close(own, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("cell", CELLS)
def test_an_utterance_is_the_same_alone_and_in_any_batch(cell, dtype, tolerance):
    stack, features = stack_of(cell, dtype=dtype), batch_of(dtype=dtype)
    together = stack(features, torch.tensor(LENGTHS))
    gradient = gradients(together, stack, features)
    weights = torch.linspace(-1, 1, together.numel(), dtype=dtype).view_as(together)
    stack.zero_grad()
    features.grad = None
    for index, length in enumerate(LENGTHS):
        if length:
            one = slice(index, index + 1)
            alone = stack(features[one, :length], torch.tensor([length]))
            torch.testing.assert_close(alone, together[one, :length], rtol=0, atol=tolerance)
            (alone * weights[one, :length]).sum().backward()
    summed = [features.grad, *(parameter.grad for parameter in stack.parameters())]
    for own, theirs in zip(summed, gradient, strict=True):
        torch.testing.assert_close(own, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_in_the_padding_has_no_effect(cell, garbage):
    stack, features, lengths = stack_of(cell), batch_of(), torch.tensor(LENGTHS)
    padding = torch.arange(8) >= lengths.unsqueeze(1)
    clean = stack(features, lengths)
    expected = gradients(clean, stack, features)
    spoilt = features.detach().clone()
    spoilt[padding] = garbage
    output = stack(spoilt.requires_grad_(), lengths)
    assert torch.equal(output, clean)
    assert not output[padding].any()
    found = gradients(output, stack, spoilt)
    assert not found[0][padding].any()
    for own, theirs in zip(found, expected, strict=True):
        assert torch.equal(own, theirs)


@pytest.mark.parametrize("cell", CELLS)
def test_reversed_input_and_swapped_directions_give_the_reversed_output(cell):
    stack, features = stack_of(cell, num_layers=1), batch_of()
    lengths = torch.full((len(LENGTHS),), 8)
    output = stack(features, lengths)
    (layer,) = stack.layers
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(parameter.flip(0))
    mirrored = torch.cat(stack(features.flip(1), lengths).flip(1).chunk(2, dim=2)[::-1], dim=2)
    torch.testing.assert_close(mirrored, output, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("batch", "frames"), [(0, 4), (2, 0), (2, 4)])
def test_a_batch_without_a_frame(cell, batch, frames):
    stack = stack_of(cell)
    lengths = torch.zeros(batch, dtype=torch.int64)
    output = stack(torch.randn(batch, frames, 4, dtype=torch.float64), lengths)
    assert output.shape == (batch, frames, 6)
    assert not output.any()


@pytest.mark.parametrize(
    ("cell", "layers", "hidden", "inputs", "outputs", "options", "count"),
    [
        ("peephole", 5, 500, 128, 44, {}, 26_591_044),  # Graves & Jaitly 2014
        ("peephole", 1, 250, 123, 62, {}, 780_562),  # Graves et al. 2013, table 1
        ("peephole", 2, 250, 123, 62, {}, 2_284_062),
        ("peephole", 3, 250, 123, 62, {}, 3_787_562),
        ("peephole", 5, 250, 123, 62, {}, 6_794_562),
        ("peephole", 1, 622, 123, 62, {}, 3_793_018),
        ("peephole", 3, 421, 123, 62, {"bidirectional": False}, 3_786_957),
        ("tanh", 3, 500, 123, 62, {}, 3_688_062),
        ("lstm", 1, 250, 123, 62, {}, 780_562 - 2 * 3 * 250),
        ("gru", 1, 7, 5, 3, {}, 2 * 3 * 7 * (5 + 7 + 1) + 15 * 3),
        ("leaky", 3, 500, 123, 62, {"leak": 0.5}, 3_688_062),
        ("tanh", 3, 500, 123, 62, {"batch_norm": True}, 3_688_062 + 2 * 2 * 1000),
    ],
)
def test_the_papers_networks_have_the_papers_number_of_weights(
    cell, layers, hidden, inputs, outputs, options, count
):
    with torch.device("meta"):
        stack = RecurrentStack(inputs, hidden, layers, cell=cell, **options)
        output = nn.Linear(stack.output_size, outputs)
    modules = nn.ModuleList([stack, output])
    assert sum(parameter.numel() for parameter in modules.parameters()) == count


def test_the_names_and_shapes_of_the_weights():
    shapes = {name: tuple(value.shape) for name, value in stack_of("peephole").state_dict().items()}
    assert shapes == {
        "layers.0.input_weight": (2, 12, 4),
        "layers.0.recurrent_weight": (2, 12, 3),
        "layers.0.bias": (2, 12),
        "layers.0.peepholes": (2, 3, 3),
        "layers.1.input_weight": (2, 12, 6),
        "layers.1.recurrent_weight": (2, 12, 3),
        "layers.1.bias": (2, 12),
        "layers.1.peepholes": (2, 3, 3),
    }


def test_a_new_layer_remembers():
    layer = RecurrentLayer(40, 25, cell="peephole", bidirectional=True)
    forget = torch.zeros(2, 100)
    forget[:, 25:50] = 1
    assert torch.equal(layer.bias.detach(), forget)
    assert not layer.peepholes.any()
    assert 0.19 < layer.recurrent_weight.max() <= 0.2  # 1 / sqrt(25)
    glorot = (6 / (40 + 25)) ** 0.5  # of a gate's matrix, not of the four together
    assert 0.95 * glorot < layer.input_weight.max() <= glorot
    assert not RecurrentLayer(4, 3, cell="gru", bidirectional=False).bias.any()


def test_dropout_is_between_layers_and_only_in_training():
    features, lengths = batch_of(), torch.tensor(LENGTHS)
    stack = stack_of("lstm", dropout=0.5)
    plain = stack_of("lstm")(features, lengths)
    assert torch.equal(stack.eval()(features, lengths), plain)
    assert not torch.equal(stack.train()(features, lengths), plain)
    assert torch.equal(
        stack_of("lstm", num_layers=1, dropout=0.5)(features, lengths),
        stack_of("lstm", num_layers=1)(features, lengths),
    )


@pytest.mark.parametrize("cell", CELLS)
def test_bfloat16_autocast(cell):
    stack, features = stack_of(cell, dtype=torch.float32), batch_of(dtype=torch.float32)
    lengths = torch.tensor(LENGTHS)
    exact = stack(features, lengths)
    expected = gradients(exact, stack, features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = stack(features, lengths)
    torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.03)
    for own, theirs in zip(gradients(output.float(), stack, features), expected, strict=True):
        assert own.dtype == torch.float32
        assert (own - theirs).norm() < 0.05 * theirs.norm()


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_the_type_of_the_output(cell):
    lengths = torch.tensor(LENGTHS)
    stack, features = stack_of(cell, dtype=torch.float32), batch_of(dtype=torch.float32)
    assert stack(features, lengths).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert stack(features, lengths).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.float16):
        assert stack(features, lengths).dtype == torch.float32
    assert stack.bfloat16()(features.bfloat16(), lengths).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert stack.double()(features.double(), lengths).dtype == torch.float64


def test_without_gradients_it_is_the_same():
    stack, features, lengths = stack_of("peephole"), batch_of(), torch.tensor(LENGTHS)
    with torch.inference_mode():
        assert torch.equal(stack(features, lengths), stack(features, lengths))
    with torch.no_grad():
        quiet = stack(features, lengths)
    assert torch.equal(quiet, stack(features, lengths))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cell": "lstn"}, "cell must be one of lstm, peephole, gru, tanh, leaky, got 'lstn'"),
        ({"hidden_size": 0}, "must be at least 1, got 4, 0 and 2"),
        ({"num_layers": 0}, "must be at least 1, got 4, 3 and 0"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": float("nan")}, "dropout must be at least 0 and below 1, got nan"),
        (
            {"cell": "leaky", "leak": 1.0},
            "leak must be at least 0 and below 1, and 0 but for leaky",
        ),
        ({"cell": "leaky", "leak": float("nan")}, "0 but for leaky, got nan for leaky"),
        ({"cell": "tanh", "leak": 0.5}, "0 but for leaky, got 0.5 for tanh"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        stack_of(**({"cell": "lstm"} | arguments))


@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        ((2, 5), [1, 2], r"features must be \(B, T, 4\), got \(2, 5\)"),
        ((2, 5, 3), [1, 2], r"features must be \(B, T, 4\), got \(2, 5, 3\)"),
        ((2, 5, 4), [1], r"feature_lengths must be \(2,\), got \(1,\)"),
        ((2, 5, 4), [1, 6], r"feature_lengths must be 0 to 5, got \[1, 6\]"),
        ((2, 5, 4), [-1, 5], r"feature_lengths must be 0 to 5, got \[-1, 5\]"),
    ],
)
def test_shapes_and_lengths_that_do_not_fit(shape, lengths, message):
    with pytest.raises(ValueError, match=message):
        stack_of("lstm")(torch.zeros(shape, dtype=torch.float64), torch.tensor(lengths))


def test_config():
    config = EncoderConfig(cell="peephole", num_layers=5, hidden_size=500)
    assert (config.bidirectional, config.dropout) == (True, 0.0)
    with pytest.raises(ValidationError, match="'lstm', 'peephole', 'gru', 'tanh' or 'leaky'"):
        EncoderConfig(cell="rnn")
    with pytest.raises(ValidationError, match="less than 1"):
        EncoderConfig(dropout=1.0)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        EncoderConfig(num_layers=0)
