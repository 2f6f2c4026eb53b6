"""What the transducer losses refuse, and their use in ordinary loops."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchaudio
from torch import Tensor, nn

from asr.errors import DataError
from asr.objectives import transducer_nodes
from asr.objectives.targets import Outputs
from asr.objectives.transducer import (
    check_transducer_targets,
    joint_transducer_loss,
    transducer_loss,
)
from tests.objectives.examples import losses_of
from tests.objectives.transducer_reference import Batch, Joint, made_batch, normal, one

VOCABULARY = 5
GOOD = one(3, [1, 2])
NAME = "(logit|encoded)_lengths"
Loss = Callable[..., Tensor]


def of_logits(batch: Batch, **settings: object) -> Tensor:
    return transducer_loss(torch.zeros(1, 3, 3, VOCABULARY), *batch, **settings)


def of_joint(batch: Batch, **settings: object) -> Tensor:
    encoded, predicted = torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)
    return joint_transducer_loss(Joint(4, VOCABULARY), encoded, predicted, *batch, **settings)


def of_nothing(batch: Batch, *, blank: int = 0, **settings: object) -> None:
    outputs = Outputs(3, VOCABULARY, blank, "logit_lengths")
    check_transducer_targets(batch.frames, batch.targets, batch.emitted, outputs, **settings)


@pytest.fixture(params=[of_logits, of_joint, of_nothing])
def check(request: pytest.FixtureRequest) -> Callable[..., object]:
    """What looks at the targets of an utterance of three frames and up to two tokens."""
    return request.param


@pytest.mark.parametrize("token", [5, 500_000, -1, -100_000, 0])
def test_tokens_outside_the_vocabulary_are_refused(
    check: Callable[..., object], token: int
) -> None:
    message = rf"^utterance 'a' has targets outside the vocabulary \({token}\): tokens are 0 to 4 "
    with pytest.raises(DataError, match=message + r"without the blank 0\. Was the text encoded"):
        check(one(3, [1, token]), ids=["a"])


def test_utterances_without_frames_are_refused(check: Callable[..., object]) -> None:
    with pytest.raises(DataError, match=r"^utterance 0 of the batch has no frames$"):
        check(one(0, [1, 2]))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"targets": GOOD.targets[0]}, ValueError, r"targets must be \(B, U\), got \(2,\)"),
        ({"targets": GOOD.targets.int()}, TypeError, r"targets must be int64, got torch\.int32"),
        ({"frames": GOOD.frames.int()}, TypeError, f"^{NAME} must be int64, got torch.int32"),
        ({"emitted": GOOD.emitted.float()}, TypeError, "target_lengths must be int64, got .*float"),
        ({"frames": torch.tensor([3, 3])}, ValueError, rf"^{NAME} must be \(1,\), got \(2,\)"),
        ({"frames": torch.tensor([4])}, ValueError, rf"^{NAME} must be 0 to 3, got \[4\]"),
        ({"frames": torch.tensor([-1])}, ValueError, rf"^{NAME} must be 0 to 3, got \[-1\]"),
        ({"emitted": torch.tensor(2)}, ValueError, r"target_lengths must be \(1,\), got \(\)"),
        ({"emitted": torch.tensor([3])}, ValueError, r"target_lengths must be 0 to 2, got \[3\]"),
        ({"emitted": torch.tensor([-1])}, ValueError, r"target_lengths must be 0 to 2, got \[-1\]"),
    ],
)
def test_targets_that_do_not_fit_are_named(
    check: Callable[..., object], change: dict[str, Tensor], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check(GOOD._replace(**change))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blank": 5}, "blank must be 0 to 4, got 5"),
        ({"blank": -1}, "blank must be 0 to 4, got -1"),
        ({"ids": ["a", "b"]}, "2 ids for 1 utterances"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    check: Callable[..., object], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check(GOOD, **settings)


def test_there_is_no_second_derivative() -> None:
    """Of a sum neither, where the gradient that comes in is a constant."""
    logits = torch.zeros(1, 3, 3, VOCABULARY, requires_grad=True)
    encoded = torch.zeros(1, 3, 4, requires_grad=True)
    joined = joint_transducer_loss(Joint(4, VOCABULARY), encoded, torch.zeros(1, 3, 4), *GOOD)
    for loss, learnt in ((transducer_loss(logits, *GOOD), logits), (joined, encoded)):
        with pytest.raises(RuntimeError, match=r"transducer's loss has no second derivative: go "):
            torch.autograd.grad(loss.sum(), learnt, create_graph=True)


def test_good_targets_are_not_refused(check: Callable[..., object]) -> None:
    check(GOOD, ids=["a"])
    check(GOOD._replace(targets=torch.tensor([[1, -99]]), emitted=torch.tensor([1])))
    check(one(1, [4, 4]))
    check(one(3, [0, 1]), blank=4)


def test_a_bad_batch_names_some_utterances_and_counts_the_others() -> None:
    frames = torch.tensor([1] + [0] * 7)
    with pytest.raises(DataError, match=r"^utterance 'u1' has no.*'u5' .*; and 2 more utterances$"):
        check_transducer_targets(
            frames,
            torch.full((8, 2), 1),
            torch.full((8,), 2),
            Outputs(3, 2, 0),
            ids=[f"u{index}" for index in range(8)],
        )


LOGITS = torch.zeros(1, 3, 3, VOCABULARY)


@pytest.mark.parametrize(
    ("logits", "error", "message"),
    [
        (LOGITS[0], ValueError, r"logits must be \(B, T, U \+ 1, V\), got \(3, 3, 5\)"),
        (LOGITS.bfloat16(), TypeError, "logits must be float32 or float64, got torch.bfloat16"),
        (LOGITS[:0], ValueError, r"logits must be of one utterance or more, got \(0, 3, 3, 5\)"),
        (LOGITS[:, :, 1:], ValueError, r"must be \(1, 1\) for these logits, got \(1, 2\)"),
        (LOGITS.repeat(2, 1, 1, 1), ValueError, r"must be \(2, 2\) for these logits, got \(1, 2\)"),
    ],
)
def test_logits_that_do_not_fit_are_named(
    logits: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        transducer_loss(logits, *GOOD)


THREE = torch.zeros(1, 3, 4)
PAIR = THREE.repeat(2, 1, 1)


@pytest.mark.parametrize(
    ("encoded", "predicted", "error", "message"),
    [
        (THREE[0], THREE, ValueError, r"must be \(B, T, E\) .*, got \(3, 4\) and \(1, 3, 4\)"),
        (THREE, THREE[0], ValueError, r"predicted \(B, U \+ 1, P\), got \(1, 3, 4\) and \(3, 4\)"),
        (PAIR, THREE, ValueError, r"got \(2, 3, 4\) and \(1, 3, 4\)"),
        (THREE.half(), THREE, TypeError, "encoded must be float32 or float64, got torch.float16"),
        (THREE[:0], THREE[:0], ValueError, r"encoded must be of one .* more, got \(0, 3, 4\)"),
        (THREE, THREE[:, 1:], ValueError, r"\(1, 1\) for these predictions, got \(1, 2\)"),
        (PAIR, PAIR, ValueError, r"\(2, 2\) for these predictions, got \(1, 2\)"),
    ],
)
def test_inputs_of_a_joint_that_do_not_fit_are_named(
    encoded: Tensor, predicted: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        joint_transducer_loss(Joint(4, VOCABULARY), encoded, predicted, *GOOD)


def whole(joint: nn.Module, encoded: Tensor, predicted: Tensor, *batch: Tensor) -> Tensor:
    return transducer_loss(joint(encoded[:, :, None], predicted[:, None]), *batch)


def theirs(joint: nn.Module, encoded: Tensor, predicted: Tensor, *batch: Tensor) -> Tensor:
    logits = joint(encoded[:, :, None], predicted[:, None])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchaudio is going to drop it
        return torchaudio.functional.rnnt_loss(
            logits, *(part.int() for part in batch), blank=0, reduction="none"
        )


def training(loss: Loss) -> list[float]:
    """The losses of a small network that learns four made-up utterances, from one seed."""
    batch = made_batch([(20, 5), (14, 7), (20, 3), (9, 6)], 6)
    batch = batch._replace(targets=batch.targets.clamp(min=0))
    features, before = (
        normal(4, 20, 8, dtype=torch.float32),
        nn.functional.pad(batch.targets, (1, 0)),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder, prediction = nn.LSTM(8, 24, batch_first=True), nn.LSTM(6, 24, batch_first=True)
        modules = nn.ModuleList([encoder, prediction, Joint(24, 6)])
    optimizer = torch.optim.SGD(modules.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(200):
        predicted = prediction(nn.functional.one_hot(before, 6).float())[0]
        mean = loss(modules[2], encoder(features)[0], predicted, *batch).mean()
        losses.append(mean.item())
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
    return losses


def test_a_training_takes_the_same_course_with_any_of_the_losses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = training(theirs)
    assert expected[-1] < 0.2 * expected[0]
    for loss, values in (
        (whole, 1 << 20),
        (joint_transducer_loss, 1 << 20),
        (joint_transducer_loss, 500),
    ):
        monkeypatch.setattr(transducer_nodes, "CHUNK_VALUES", values)
        assert training(loss) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_training_loop_of_a_few_lines_learns(capsys: pytest.CaptureFixture[str]) -> None:
    losses = losses_of("transducer", capsys)
    assert np.mean(losses[:5]) > 10
    assert np.mean(losses[-5:]) < 1
