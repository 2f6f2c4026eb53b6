import math

import numpy as np
import pytest
import torch

from asr.decoding.labelling import labelling_log_prob
from tests.decoding.search_reference import labelling_log_probs, random_log_probs


@pytest.mark.parametrize(("frames", "size", "blank"), [(1, 2, 0), (4, 3, 0), (5, 3, 2), (6, 2, 1)])
def test_it_sums_over_every_alignment(frames: int, size: int, blank: int) -> None:
    log_probs = random_log_probs(np.random.default_rng(frames), frames, size)
    for tokens, expected in labelling_log_probs(log_probs, blank).items():
        found = labelling_log_prob(log_probs, np.array(tokens, dtype=np.int64), blank)
        assert found == pytest.approx(expected, abs=1e-12)


def test_it_equals_the_loss_of_torch() -> None:
    log_probs = torch.tensor(random_log_probs(np.random.default_rng(0), 40, 6))
    tokens = torch.tensor([1, 1, 5, 2, 3, 3, 3, 4])
    loss = torch.nn.functional.ctc_loss(
        log_probs[:, None], tokens[None], torch.tensor([40]), torch.tensor([8]), reduction="sum"
    )
    found = labelling_log_prob(log_probs.numpy(), tokens.numpy())
    assert found == pytest.approx(-loss.item(), abs=1e-9)


def test_too_few_frames_have_no_alignment() -> None:
    log_probs = random_log_probs(np.random.default_rng(0), 2, 3)
    assert labelling_log_prob(log_probs, np.array([1, 1])) == -math.inf
    assert labelling_log_prob(log_probs[:0], np.array([], dtype=np.int64)) == 0.0
