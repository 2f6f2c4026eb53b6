"""The transducer network: its size in the paper, and what its parts give."""

import pytest
import torch

from asr.frontend.filter_bank import FilterBank, LogMel
from asr.frontend.frontend import Frontend
from asr.models.lstm import RecurrentStack
from asr.models.transducer import JointKind, PredictionNetwork, TransducerModel


def frontend() -> Frontend:
    mel = LogMel(
        sample_rate=16000,
        num_mels=40,
        window_seconds=0.025,
        hop_seconds=0.01,
        low_frequency=20.0,
        high_frequency=8000.0,
        window_shape="hamming",
    )
    return Frontend(
        FilterBank(mel, preemphasis=0.97, deltas=2), normalization=None, stack=1, spec_augment=None
    )


def model(joint: JointKind, *, hidden: int = 8, layers: int = 1) -> TransducerModel:
    torch.manual_seed(0)
    front = frontend()
    encoder = RecurrentStack(front.output_size, hidden, layers, cell="peephole")
    prediction = PredictionNetwork(
        62, embedding_size=0, hidden_size=hidden, num_layers=1, cell="peephole"
    )
    return TransducerModel(front, encoder, prediction, joint=joint, joint_size=hidden)


def test_the_network_of_the_paper_has_as_many_weights() -> None:
    """Trans-3l-250h: 4.3 million in the paper's table."""
    network = model("tanh", hidden=250, layers=3)
    assert network.frontend.output_size == 123
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_335_312


@pytest.mark.parametrize("joint", ["tanh", "additive"])
def test_an_utterance_gets_the_same_alone_and_in_a_batch(joint: JointKind) -> None:
    network = model(joint).eval()
    waveforms = torch.randn(2, 4000)
    waveforms[1, 2500:] = 0
    sizes = torch.tensor([4000, 2500])
    tokens, lengths = torch.tensor([[5, 61, 7], [3, 0, 0]]), torch.tensor([3, 1])
    encoded, frames = network(waveforms, sizes)
    predicted = network.predict(tokens, lengths)
    alone, alone_frames = network(waveforms[1:, :2500], sizes[1:])
    assert frames[1] == alone_frames[0]
    torch.testing.assert_close(encoded[1, : frames[1]], alone[0])
    torch.testing.assert_close(predicted[1, :2], network.predict(tokens[1:, :1], lengths[1:])[0])
    logits = network.joint(encoded[0][:, None], predicted[0][None])
    assert logits.shape == (frames[0], 4, 62)


def test_the_additive_joint_multiplies_two_distributions() -> None:
    network = model("additive")
    one, other = torch.randn(3, 1, 62), torch.randn(1, 2, 62)
    product = one.softmax(dim=-1) * other.softmax(dim=-1)
    expected = product / product.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(network.joint(one, other).softmax(dim=-1), expected)
