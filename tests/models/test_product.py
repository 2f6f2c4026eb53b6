import numpy as np
import pytest
import torch

from asr.models.product import MAX_ROWS, multiply, pack


def product_of(matrix, rows, num_rows):
    """`multiply` into memory of NaN, so that whatever is not written shows."""
    packed = pack(matrix)
    stored = packed.view(torch.uint16) if packed.dtype == torch.bfloat16 else packed
    width = packed.shape[0] * packed.shape[2]
    product = np.full((len(rows), width), np.nan, rows.numpy().dtype)
    multiply(stored.numpy(), rows.numpy(), num_rows, product)
    return torch.from_numpy(product)


@pytest.mark.parametrize("num_rows", [1, 2, MAX_ROWS, MAX_ROWS + 1, 3 * MAX_ROWS + 2])
@pytest.mark.parametrize("columns", [1, 15, 16, 32, 33, 100])
@pytest.mark.parametrize("depth", [1, 7])
def test_it_is_the_matrix_product(num_rows, columns, depth):
    torch.manual_seed(1)
    matrix = torch.randn(depth, columns, dtype=torch.float64)
    rows = torch.randn(num_rows + 1, depth, dtype=torch.float64)
    product = product_of(matrix, rows, num_rows)
    expected = rows[:num_rows] @ matrix
    torch.testing.assert_close(product[:num_rows, :columns], expected, rtol=0, atol=1e-14)
    assert not product[:num_rows, columns:].any()
    assert product[num_rows:].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_float32_rows_and_a_matrix_of_float32_or_bfloat16(dtype):
    torch.manual_seed(1)
    matrix, rows = torch.randn(50, 70).to(dtype), torch.randn(20, 50)
    product = product_of(matrix, rows, 20)[:, :70]
    expected = rows.double() @ matrix.double()  # the bfloat16 numbers exactly, not rounded again
    torch.testing.assert_close(product.double(), expected, rtol=0, atol=1e-4)


def test_no_rows_do_nothing():
    assert product_of(torch.ones(3, 5), torch.ones(2, 3), 0).isnan().all()


def test_a_transposed_matrix_can_be_packed():
    matrix = torch.randn(70, 5)
    assert torch.equal(pack(matrix.t()), pack(matrix.t().contiguous()))
