"""Frames are counted and cut so that none touches padding."""

import math

import pytest
import torch

from asr.frontend.framing import num_frames, power_spectrum, zero_beyond


@pytest.mark.parametrize(
    ("window", "hop"), [(254, 127), (400, 160), (400, 400), (160, 400), (3, 1)]
)
def test_num_frames_counts_the_starts_whose_frame_lies_inside(window: int, hop: int) -> None:
    lengths = torch.arange(2001)
    starts = torch.arange(0, 2001, hop)
    by_counting = (starts + window <= lengths[:, None]).sum(dim=1)
    assert torch.equal(num_frames(lengths, window, hop), by_counting)


def test_num_frames_is_the_count_of_the_paper() -> None:
    lengths = torch.arange(2001)
    paper = [max(0, math.floor((n - 127) / 127)) for n in range(2001)]
    assert num_frames(lengths, 254, 127).tolist() == paper
    assert num_frames(torch.tensor(16000), 254, 127).item() == 124


def test_power_spectrum_makes_as_many_frames_as_are_counted() -> None:
    weights = torch.ones(8)
    for samples in range(40):
        power = power_spectrum(torch.zeros(2, samples), weights, 6, 4)
        assert power.shape == (2, int(num_frames(torch.tensor(samples), 6, 4)), 5)


def test_zero_beyond_replaces_whatever_stands_in_the_padding() -> None:
    values = torch.tensor([[1.0, torch.nan, torch.inf], [4.0, 5.0, 6.0], [torch.nan, 8.0, 9.0]])
    lengths = torch.tensor([1, 3, 0])
    expected = torch.tensor([[1.0, 0.0, 0.0], [4.0, 5.0, 6.0], [0.0, 0.0, 0.0]])
    assert torch.equal(zero_beyond(values, lengths), expected)
    assert torch.equal(zero_beyond(values[..., None], lengths), expected[..., None])
