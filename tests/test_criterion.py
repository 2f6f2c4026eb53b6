import math

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.criterion import build_criterion
from asr.data.batching import Batch, collate
from asr.data.labels import read_labels
from asr.decoding.beam import BeamLimits, BeamSearch
from asr.frontend.augment import AugmentConfig
from asr.frontend.building import build_frontend
from asr.frontend.filter_bank import LogMelConfig
from asr.models.ctc import CTCModel
from asr.models.lstm import RecurrentStack
from asr.objectives.ctc import CTCConfig, ctc_loss, smoothed
from asr.objectives.expected_wer import ExpectedWERConfig, expected_loss
from asr.objectives.nbest_wer import nbest_loss
from asr.objectives.reinforce import reinforce_loss
from tests.objectives.sampling_reference import LOSSES, divisor, random_log_probs, seeded

LABELS = read_labels(["<blank>", " ", "a", "b"])
TEXTS = ["ab b", "", "a"]
LENGTHS = torch.tensor([8, 5, 2])
SEED = 7


def made_batch() -> Batch:
    targets = [[LABELS.names.index(letter) for letter in text] for text in TEXTS]
    return collate(["x", "y", "z"], [np.zeros(1, np.float32)] * 3, targets)


def ctc_model() -> CTCModel:
    """Any: its criteria only see what it puts out."""
    front = build_frontend(LogMelConfig(name="log_mel"), AugmentConfig())
    return CTCModel(front, RecurrentStack(front.output_size, 1, 1), len(LABELS))


def scores() -> Tensor:
    return random_log_probs(3, 8, 4).requires_grad_()


def configured(**settings: object) -> ExpectedWERConfig:
    return ExpectedWERConfig.model_validate({"name": "expected_wer"} | settings)


def with_gradient(losses: Tensor, log_probs: Tensor) -> tuple[Tensor, Tensor]:
    (gradient,) = torch.autograd.grad(losses.sum(), log_probs)
    return losses.detach(), gradient


def criterion(config: CTCConfig | ExpectedWERConfig, log_probs: Tensor) -> Tensor:
    """Its losses of the made batch; what is drawn is drawn with `SEED`."""
    made = build_criterion(config, LABELS, ctc_model())
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        return made(log_probs, LENGTHS, made_batch(), TEXTS)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (CTCConfig(), "loss"),
        (CTCConfig(label_smoothing=0.1), "smoothed loss"),
        (configured(), "sampled WER"),
        (configured(loss="cer"), "sampled CER"),
        (configured(raw_counts=True), "sampled errors"),
        (configured(estimator="reinforce"), "sampled WER"),
        (configured(estimator="nbest", loss="cer"), "CER of the n-best list"),
        (configured(ctc_weight=0.25), "sampled WER + 0.25 CTC"),
        (configured(estimator="nbest", ctc_weight=1), "WER of the n-best list + 1 CTC"),
    ],
)
def test_names(config: CTCConfig | ExpectedWERConfig, name: str) -> None:
    assert build_criterion(config, LABELS, ctc_model()).name == name


def ctc(log_probs: Tensor) -> Tensor:
    batch = made_batch()
    return ctc_loss(log_probs, LENGTHS, batch.targets, batch.target_lengths)


def test_ctc() -> None:
    log_probs = scores()
    found = with_gradient(criterion(CTCConfig(), log_probs), log_probs)
    assert all(map(torch.equal, found, with_gradient(ctc(log_probs), log_probs)))


def test_smoothed_ctc() -> None:
    log_probs = scores()
    found = with_gradient(criterion(CTCConfig(label_smoothing=0.2), log_probs), log_probs)
    expected = smoothed(ctc(log_probs), log_probs, LENGTHS, 0.2)
    assert all(map(torch.equal, found, with_gradient(expected, log_probs)))
    assert (found[0] != ctc(log_probs)).all()


SETTINGS = [
    {"num_samples": 3},
    {"num_samples": 4, "loss": "cer"},
    {"num_samples": 2, "raw_counts": True},
]


@pytest.mark.parametrize("settings", [*SETTINGS, {"num_samples": 3, "probability_floor": 0.2}])
def test_the_exchange_estimator(settings: dict[str, object]) -> None:
    log_probs = scores()
    found = with_gradient(criterion(configured(**settings), log_probs), log_probs)
    losses = expected_loss(
        log_probs, LENGTHS, TEXTS, labels=LABELS, generator=seeded(SEED), **settings
    )
    assert all(map(torch.equal, found, with_gradient(losses, log_probs)))


@pytest.mark.parametrize("settings", SETTINGS)
def test_reinforce(settings: dict[str, object]) -> None:
    log_probs = scores()
    config = configured(estimator="reinforce", **settings)
    found = with_gradient(criterion(config, log_probs), log_probs)
    losses = reinforce_loss(
        log_probs, LENGTHS, TEXTS, labels=LABELS, generator=seeded(SEED), **settings
    )
    assert all(map(torch.equal, found, with_gradient(losses, log_probs)))


@pytest.mark.parametrize("settings", SETTINGS)
def test_nbest(settings: dict[str, object]) -> None:
    log_probs = scores()
    config = configured(estimator="nbest", **settings)
    found = with_gradient(criterion(config, log_probs), log_probs)
    loss = config.loss
    search = BeamSearch(LABELS, limits=BeamLimits(beam_size=16))
    lists = search.decode_nbest(log_probs.detach(), LENGTHS, nbest=config.num_samples)
    assert all(len(hypotheses) == config.num_samples for hypotheses in lists)
    errors = [
        [
            LOSSES[loss](hypothesis.text, text) / (config.raw_counts or divisor(loss, text))
            for hypothesis in hypotheses
        ]
        for hypotheses, text in zip(lists, TEXTS, strict=True)
    ]
    tokens = [[hypothesis.tokens for hypothesis in hypotheses] for hypotheses in lists]
    expected = with_gradient(nbest_loss(log_probs, LENGTHS, tokens, errors), log_probs)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("estimator", ["exchange", "reinforce", "nbest"])
def test_some_of_the_ctc_loss_is_added(estimator: str) -> None:
    log_probs = scores()
    alone = with_gradient(criterion(configured(estimator=estimator), log_probs), log_probs)
    config = configured(estimator=estimator, ctc_weight=0.25)
    both = with_gradient(criterion(config, log_probs), log_probs)
    added = with_gradient(0.25 * ctc(log_probs), log_probs)
    torch.testing.assert_close(both, tuple(map(torch.add, alone, added)))


@pytest.mark.parametrize("estimator", ["exchange", "reinforce", "nbest"])
def test_nan_gives_nan_for_the_training_loop_to_name(estimator: str) -> None:
    log_probs = scores().detach()
    log_probs[1, 2, 3] = math.nan
    losses = criterion(configured(estimator=estimator), log_probs.requires_grad_())
    assert losses.isnan().tolist() == [False, True, False]
