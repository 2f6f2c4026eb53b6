import math

import numpy as np
import pytest
import torch
from numba import njit

from asr.models.activations import narrow, sigmoid, tanh, widen


@njit
def apply_sigmoid(x, out):
    for k in range(len(x)):
        out[k] = sigmoid(x[k])


@njit
def apply_tanh(x, out):
    for k in range(len(x)):
        out[k] = tanh(x[k])


@njit
def apply_widen(x, out):
    for k in range(len(x)):
        out[k] = widen(x[k])


@njit
def apply_narrow(x, out):
    for k in range(len(x)):
        out[k] = narrow(x[k], out[k])


def applied(function, x, dtype=None):
    out = np.zeros(len(x), dtype or x.dtype)
    function(x, out)
    return out


def every_float32(step=4001):
    """All float32 numbers but NaN, thinned: every sign, every exponent, many mantissas."""
    values = np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return values[~np.isnan(values)]


def test_tanh_of_every_size_of_number():
    x = every_float32()
    exact = np.tanh(x.astype(np.float64))
    normal = np.abs(x) > np.finfo(np.float32).tiny
    error = np.abs(applied(apply_tanh, x) - exact)
    assert (error[normal] <= 2e-7 * np.abs(exact[normal])).all()
    assert (error[~normal] <= np.finfo(np.float32).tiny).all()


def test_sigmoid_of_every_size_of_number():
    x = every_float32()
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-x.astype(np.float64)))
    error = np.abs(applied(apply_sigmoid, x) - exact)
    assert (error[x >= -87] <= 2e-7 * exact[x >= -87]).all()
    assert (error[x < -87] <= 1.7e-38).all()


def test_limits_signs_and_nan():
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], np.float32)
    np.testing.assert_array_equal(applied(apply_tanh, x), np.array([1, -1, np.nan, 0, 0]))
    assert np.signbit(applied(apply_tanh, x)[-1])
    np.testing.assert_allclose(
        applied(apply_sigmoid, x), np.array([1, 0, np.nan, 0.5, 0.5]), rtol=0, atol=1.7e-38
    )


def test_float64_is_as_exact_as_the_c_library():
    x = np.linspace(-40, 40, 1001)
    np.testing.assert_array_equal(applied(apply_tanh, x), [math.tanh(value) for value in x])
    np.testing.assert_allclose(applied(apply_sigmoid, x), 1 / (1 + np.exp(-x)), rtol=1e-15)


def test_every_bfloat16_becomes_its_float32():
    bits = np.arange(2**16).astype(np.uint16)
    expected = torch.from_numpy(bits).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(applied(apply_widen, bits, np.float32), expected)


def test_float32_is_rounded_to_bfloat16_as_torch_does():
    x = every_float32()
    expected = torch.from_numpy(x).bfloat16().view(torch.uint16).numpy()
    np.testing.assert_array_equal(applied(apply_narrow, x, np.uint16), expected)


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001])
def test_nan_stays_nan_in_bfloat16(bits):
    x = np.array([bits], np.uint32).view(np.float32)
    assert torch.from_numpy(applied(apply_narrow, x, np.uint16)).view(torch.bfloat16).isnan()


def test_other_types_pass_unchanged():
    x = np.array([0.1, -1e300])
    np.testing.assert_array_equal(applied(apply_widen, x), x)
    np.testing.assert_array_equal(applied(apply_narrow, x), x)


def test_in_python_they_are_the_plain_formulas():
    assert sigmoid(0.5) == 1 / (1 + math.exp(-0.5))
    assert tanh(0.5) == math.tanh(0.5)
    assert widen(0.5) == 0.5
    assert narrow(0.1, np.float32(0)) == np.float32(0.1)
