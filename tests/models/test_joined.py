import torch

from asr.models.joined import join_frames, join_rows, pad_rows

LENGTHS = torch.tensor([2, 0, 4, 2])


def test_rows_are_ordered_by_time_then_by_length():
    frames = join_frames(LENGTHS, 5)
    utterances, times = frames.positions // 5, frames.positions % 5
    assert times.tolist() == [0, 0, 0, 1, 1, 1, 2, 3]
    assert utterances.tolist() == [2, 0, 3, 2, 0, 3, 2, 2]
    assert frames.num_rows.tolist() == [3, 3, 1, 1]
    assert frames.first_rows.tolist() == [0, 3, 6, 7]


def test_the_row_before_in_either_direction():
    frames = join_frames(LENGTHS, 5)
    assert frames.previous[0].tolist() == [-1, -1, -1, 0, 1, 2, 3, 6]
    assert frames.previous[1].tolist() == [3, 4, 5, 6, -1, -1, 7, -1]


def test_joining_and_padding_are_inverse_and_transposes_of_each_other():
    torch.manual_seed(1)
    frames = join_frames(LENGTHS, 5)
    features = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    rows = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    assert torch.equal(join_rows(pad_rows(rows, frames), frames), rows)
    real = (torch.arange(5) < LENGTHS.unsqueeze(1)).unsqueeze(2)
    assert torch.equal(pad_rows(join_rows(features, frames), frames), features * real)
    assert torch.autograd.gradcheck(lambda x: join_rows(x, frames), features)
    assert torch.autograd.gradcheck(lambda x: pad_rows(x, frames), rows)


def test_batches_without_utterances_or_frames():
    for lengths, num_frames in (([], 3), ([0, 0], 3), ([0], 0)):
        frames = join_frames(torch.tensor(lengths, dtype=torch.int64), num_frames)
        rows = join_rows(torch.ones(len(lengths), num_frames, 2), frames)
        assert rows.shape == (0, 2)
        assert pad_rows(rows, frames).shape == (len(lengths), num_frames, 2)
        assert not pad_rows(rows, frames).any()
