"""The transducer's loss of a batch, alone and with the CTC loss of its encoder."""

import pytest
import torch
from torch import Tensor

from asr.building import build_model
from asr.config import parse
from asr.criterion import TransducerCriterion, build_criterion
from asr.data.batching import Batch, collate
from asr.data.labels import read_labels
from asr.models.transducer import TransducerModel
from asr.objectives.ctc import ctc_loss
from asr.objectives.transducer import transducer_loss
from asr.recipe import Recipe

LABELS = read_labels(["<blank>", " ", "a", "b"])
TARGETS = [[2, 3, 3, 1], [2]]
LENGTHS = torch.tensor([6, 2])


def made_model(**settings: object) -> TransducerModel:
    recipe = {
        "data": {"train": "none"},
        "encoder": {"hidden_size": 3, "num_layers": 1},
        "objective": {"name": "transducer", "joint_size": 5, "prediction_size": 4} | settings,
    }
    torch.manual_seed(1)
    model = build_model(parse(Recipe, recipe, "made"), len(LABELS))
    assert isinstance(model, TransducerModel)
    return model


def made_batch(targets: list[list[int]]) -> Batch:
    waveforms = [torch.zeros(1).numpy()] * len(targets)
    return collate([f"u{index}" for index in range(len(targets))], waveforms, targets)


def encoded(size: int) -> Tensor:
    return torch.randn(2, 6, size, generator=torch.Generator().manual_seed(2)).requires_grad_()


def losses_of(criterion: TransducerCriterion, outputs: Tensor, batch: Batch) -> Tensor:
    return criterion(outputs, LENGTHS, batch, ["ab b", "a"])


def plain(model: TransducerModel, outputs: Tensor, batch: Batch) -> Tensor:
    """From logits that are all there at once."""
    predicted = model.predict(batch.targets, batch.target_lengths)
    logits = model.joint(outputs[:, :, None], predicted[:, None])
    return transducer_loss(logits, batch.targets, LENGTHS, batch.target_lengths)


@pytest.mark.parametrize("joint", ["tanh", "additive"])
def test_the_loss_alone(joint: str) -> None:
    model, batch = made_model(joint=joint), made_batch(TARGETS)
    assert model.ctc_output is None
    criterion = build_criterion(parse_objective(joint=joint), LABELS, model)
    assert isinstance(criterion, TransducerCriterion)
    assert criterion.name == "loss"
    outputs = encoded(5 if joint == "tanh" else len(LABELS))
    expected = plain(model, outputs, batch)
    found = losses_of(criterion, outputs, batch)
    torch.testing.assert_close(found, expected)
    wanted = [outputs, *model.joint.parameters(), *model.prediction.parameters()]
    gradients = torch.autograd.grad(found.sum(), wanted)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected.sum(), wanted))


def parse_objective(**settings: object):  # type: ignore[no-untyped-def]  # any of them
    objective = {"name": "transducer", **settings}
    return parse(Recipe, {"data": {"train": "none"}, "objective": objective}, "made").objective


def test_with_some_of_the_ctc_loss_of_the_encoder() -> None:
    model, batch, outputs = made_model(ctc_weight=0.25), made_batch(TARGETS), encoded(5)
    criterion = build_criterion(parse_objective(ctc_weight=0.25), LABELS, model)
    assert criterion.name == "loss + 0.25 CTC"
    assert model.ctc_output is not None
    log_probs = torch.log_softmax(model.ctc_output(outputs), dim=-1)
    ctc = ctc_loss(log_probs, LENGTHS, batch.targets, batch.target_lengths)
    found = losses_of(criterion, outputs, batch)
    torch.testing.assert_close(found, plain(model, outputs, batch) + 0.25 * ctc)
    assert torch.autograd.grad(found.sum(), model.ctc_output.weight)[0].abs().sum() > 0


def test_how_many_frames_a_text_needs() -> None:
    """A transducer says any number of labels in a frame; CTC needs one for each and for repeats."""
    alone, both = (TransducerCriterion(made_model(), weight) for weight in (0.0, 0.1))
    assert [alone.frames_needed(tokens) for tokens in ([], [2], [2, 2, 3])] == [1, 1, 1]
    assert [both.frames_needed(tokens) for tokens in ([], [2], [2, 2, 3])] == [1, 1, 4]


def test_more_tokens_than_frames_have_a_loss() -> None:
    model, batch = made_model(), made_batch([[2, 3] * 5, [2, 2, 3]])
    criterion = TransducerCriterion(model)
    assert torch.isfinite(losses_of(criterion, encoded(5), batch)).all()


def test_without_the_layer_there_are_no_ctc_scores() -> None:
    with pytest.raises(ValueError, match="a transducer without with_ctc has no CTC output"):
        made_model().ctc_log_probs(torch.zeros(1, 2, 5))
