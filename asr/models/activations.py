"""Sigmoid, tanh and bfloat16 in compiled loops, in a form that becomes vector instructions.

The functions of the C library are calls, one number at a time. These are short branch-free
polynomials for float32: with `x = n ln 2 + r`, `|r| <= ln 2 / 2`, `exp(x) = 2^n (1 + p(r))`, where
`2^n` is put together from bits. Relative error below 2e-7 (3 units in the last place), for
tanh also around zero. float64 goes to the C library: it is there for exactness, not for speed.

NaN stays NaN, and infinities give the limits.
"""

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

# Products and sums may be contracted to fused multiply-adds; nothing may be reordered.
OPTIONS: Any = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
compiled: Any = njit(**OPTIONS)

LOG2_E = np.float32(1.0 / math.log(2.0))
LN2_HIGH = np.float32(0.693359375)  # 11 bits, so that n * LN2_HIGH is exact
LN2_LOW = np.float32(math.log(2.0) - 0.693359375)
ROUND = np.float32(1.5 * 2**23)  # adding it rounds to an integer, kept in the lowest bits
EXPONENT_BIAS = 127
MANTISSA_BITS = 23
C2, C3, C4, C5, C6, C7 = (np.float32(1.0 / math.factorial(n)) for n in range(2, 8))
ONE, TWO = np.float32(1), np.float32(2)
SIGMOID_LIMIT = np.float32(87)  # exp(±87) is finite and normal; sigmoid(-87) = 1.6e-38
TANH_LIMIT = np.float32(20)  # tanh(10) is 1 in float32


def sigmoid(x: float) -> float:
    """`1 / (1 + exp(-x))`; in compiled code for float32 with relative error below 2e-7."""
    return 1 / (1 + math.exp(-x))


def tanh(x: float) -> float:
    """Hyperbolic tangent; in compiled code for float32 with relative error below 2e-7."""
    return math.tanh(x)


def widen(x: float) -> float:
    """The number itself; in compiled code a uint16 is taken as bfloat16 and becomes float32."""
    return x


def narrow(x: float, like: float) -> float:
    """`x` in the type of `like`; in compiled code a uint16 is bfloat16, rounded to nearest even."""
    return type(like)(x)


@compiled
def _exp_parts(x):  # type: ignore[no-untyped-def]
    """`(p, s)` with `exp(x) = s * (1 + p)`, `s` a power of two; float32, |x| at most 87."""
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    r = x - n * LN2_HIGH - n * LN2_LOW
    p = r + r * r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * (C6 + r * C7)))))
    bits = np.float32(shifted).view(np.int32) + EXPONENT_BIAS  # of `ROUND` only low zeros remain
    return p, np.int32(bits << MANTISSA_BITS).view(np.float32)


@overload(sigmoid, jit_options=OPTIONS)
def _sigmoid(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: 1 / (1 + math.exp(-x))

    def single(x):  # type: ignore[no-untyped-def]
        y = -x
        y = SIGMOID_LIMIT if y > SIGMOID_LIMIT else y  # comparisons, not min(): NaN stays
        y = -SIGMOID_LIMIT if y < -SIGMOID_LIMIT else y
        p, s = _exp_parts(y)
        return ONE / (ONE + (s + s * p))

    return single


@overload(tanh, jit_options=OPTIONS)
def _tanh(x):  # type: ignore[no-untyped-def]
    if x != types.float32:
        return lambda x: math.tanh(x)

    def single(x):  # type: ignore[no-untyped-def]
        y = TWO * abs(x)
        y = TANH_LIMIT if y > TANH_LIMIT else y
        p, s = _exp_parts(y)
        e = s * p + (s - ONE)  # exp(2|x|) - 1 without cancellation
        return math.copysign(e / (e + TWO), x)

    return single


@overload(widen, jit_options=OPTIONS)
def _widen(x):  # type: ignore[no-untyped-def]
    if x == types.uint16:
        return lambda x: np.uint32(np.uint32(x) << 16).view(np.float32)
    return lambda x: x


@overload(narrow, jit_options=OPTIONS)
def _narrow(x, like):  # type: ignore[no-untyped-def]
    if like != types.uint16:
        return lambda x, like: x

    def bfloat16(x, like):  # type: ignore[no-untyped-def]
        bits = np.float32(x).view(np.uint32)
        rounded = np.uint32(bits + 0x7FFF + ((bits >> 16) & 1))
        # Rounding could carry a NaN's bits over into zero.
        return np.uint16(0x7FC0) if x != x else np.uint16(rounded >> 16)

    return bfloat16
