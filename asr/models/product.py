"""The matrix product of one time step, compiled: few rows times a large matrix that stays put.

A recurrent network multiplies B hidden states (B is 8 to 64) by the same matrix at every frame. The
cost is the reading of that matrix (4 MB for 500 LSTM cells) from cache and the multiply-adds; a
general matrix product adds the packing of its operands each time. Here the matrix is packed once
per utterance batch into panels that are read in order, the partial sums of up to `MAX_ROWS` rows
stay in registers over the whole depth, and the next panel is fetched while this one is used.

The inner loop is written in LLVM's vectors, because only these say how wide the machine is; it runs
wherever numba runs. Sums are in the precision of the rows; the matrix may be bfloat16 (as uint16).
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any

from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

WIDE = bool(binding.get_host_cpu_features().get("avx512f", False))
VECTOR_BYTES = 64 if WIDE else 32
VECTORS = 2  # vectors to a panel: each element of a row is loaded once for both
MAX_ROWS = 14 if WIDE else 6  # 2 partial sums a row, 2 vectors of the panel, 1 element: 31 of 32

INDEX = ir.IntType(64)
SELECT = ir.IntType(32)
ALIGNMENT = 2  # bytes that a pointer is promised to be a multiple of: that of the smallest type
READ_TO_SECOND_LEVEL = (0, 2, 1)  # arguments of LLVM's prefetch: read, cache level, data


def pack(matrix: Tensor) -> Tensor:
    """The panels of a matrix, as `multiply` reads them.

    Args:
        matrix: (depth, columns) float32, float64 or bfloat16, any strides.

    Returns:
        (panels, depth, width) of the same type; the last panel is filled with zeros.
    """
    depth, columns = matrix.shape
    itemsize = max(matrix.element_size(), 4)  # bfloat16 is widened to float32
    width = VECTORS * VECTOR_BYTES // itemsize
    panels = -(-columns // width)
    packed = matrix.new_zeros((panels, depth, width))
    whole = columns // width
    body = matrix[:, : whole * width].reshape(depth, whole, width)
    packed[:whole] = body.transpose(0, 1)
    if whole < panels:
        packed[whole, :, : columns - whole * width] = matrix[:, whole * width :]
    return packed


@njit(nogil=True, error_model="numpy")
def multiply(packed, rows, num_rows, product):  # type: ignore[no-untyped-def]
    """Write `rows[:num_rows] @ matrix` to `product`.

    Args:
        packed: (panels, depth, width), `pack` of the (depth, columns) matrix; uint16 for bfloat16.
        rows: (≥ num_rows, depth) float32 or float64, contiguous.
        num_rows: how many of them; 0 does nothing.
        product: (≥ num_rows, panels * width), as `rows`; columns beyond the matrix become zero.
    """
    blocks = (num_rows + MAX_ROWS - 1) // MAX_ROWS
    for panel in range(len(packed)):
        for block in range(blocks):  # of equal height: 16 rows are 8 + 8, not 14 + 2
            first = num_rows * block // blocks
            height = num_rows * (block + 1) // blocks - first
            _multiply_panel(height, first, panel, packed, rows, product)


def _panel_product(  # type: ignore[no-untyped-def]
    context, height, first, panel, packed, rows, product
):
    """Type and instructions: `height` rows (at most MAX_ROWS) from `first` on, times one panel."""
    signature = types.void(types.intp, types.intp, types.intp, packed, rows, product)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        operands = _operands(context, builder, signature.args[3:], arguments[1:])
        done = builder.append_basic_block("done")
        choice = builder.switch(arguments[0], done)
        for count in range(1, MAX_ROWS + 1):
            block = builder.append_basic_block(f"rows{count}")
            choice.add_case(INDEX(count), block)
            builder.position_at_end(block)
            _write_loop(builder, operands, count)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, generate


_multiply_panel: Any = intrinsic(_panel_product)


@dataclass(frozen=True)
class _Operands:
    """LLVM values: pointers to the first element that is used, and the sizes."""

    weights: Any
    rows: Any
    product: Any
    depth: Any
    product_stride: Any
    vector: Any  # the type of a vector of partial sums


def _operands(context: Any, builder: Any, kinds: Any, arguments: Any) -> _Operands:
    first, panel = arguments[:2]
    packed, rows, product = (
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(kinds, arguments[2:], strict=True)
    )
    depth = builder.extract_value(rows.shape, 1)
    stride = builder.extract_value(product.shape, 1)
    lanes = VECTOR_BYTES * 8 // kinds[1].dtype.bitwidth
    column = builder.mul(panel, INDEX(VECTORS * lanes))
    start = builder.add(builder.mul(first, stride), column)
    return _Operands(
        weights=builder.gep(packed.data, [builder.mul(column, depth)]),
        rows=builder.gep(rows.data, [builder.mul(first, depth)]),
        product=builder.gep(product.data, [start]),
        depth=depth,
        product_stride=stride,
        vector=ir.VectorType(rows.data.type.pointee, lanes),
    )


def _write_loop(builder: Any, operands: _Operands, count: int) -> None:
    """The loop over the depth for `count` rows, all partial sums in registers."""
    before = builder.block
    loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    starts = [builder.mul(operands.depth, INDEX(row)) for row in range(count)]
    rows = [builder.gep(operands.rows, [start]) for start in starts]
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(INDEX)
    sums = [[builder.phi(operands.vector) for _ in range(VECTORS)] for _ in rows]
    _prefetch_next_panel(builder, operands, k)
    weights = [_load_weights(builder, operands, k, vector) for vector in range(VECTORS)]
    updated = [
        _multiply_add(builder, operands, builder.gep(row, [k]), weights, partial)
        for row, partial in zip(rows, sums, strict=True)
    ]
    following = builder.add(k, INDEX(1))
    k.add_incoming(INDEX(0), before)
    k.add_incoming(following, loop)
    zero = ir.Constant(operands.vector, None)
    for partial, new in zip(chain(*sums), chain(*updated), strict=True):
        partial.add_incoming(zero, before)
        partial.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", following, operands.depth), loop, after)
    builder.position_at_end(after)
    for row, vectors in enumerate(updated):
        _store_row(builder, operands, row, vectors)


def _multiply_add(
    builder: Any, operands: _Operands, pointer: Any, weights: list[Any], sums: list[Any]
) -> list[Any]:
    """`sums + element * weights` for the element of a row at `pointer`."""
    vector = operands.vector
    kind = "f32" if isinstance(vector.element, ir.FloatType) else "f64"
    name = f"llvm.fmuladd.v{vector.count}{kind}"  # fused where the machine can
    fma = _function(builder, ir.FunctionType(vector, [vector] * 3), name)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, builder.load(pointer), SELECT(0))
    everywhere = ir.Constant(ir.VectorType(SELECT, vector.count), None)
    element = builder.shuffle_vector(first, undefined, everywhere)
    return [
        builder.call(fma, [element, weight, partial])
        for weight, partial in zip(weights, sums, strict=True)
    ]


def _load_weights(builder: Any, operands: _Operands, k: Any, index: int) -> Any:
    """Vector `index` of row `k` of the panel; bfloat16 becomes float32 by 16 zero bits."""
    stored, lanes = operands.weights.type.pointee, operands.vector.count
    kind = ir.VectorType(stored, lanes).as_pointer()
    loaded = builder.load(_weights_at(builder, operands, k, index, kind), align=ALIGNMENT)
    if not isinstance(stored, ir.IntType):
        return loaded
    wide = ir.VectorType(SELECT, lanes)
    bits = builder.shl(builder.zext(loaded, wide), ir.Constant(wide, [16] * lanes))
    return builder.bitcast(bits, operands.vector)


def _weights_at(builder: Any, operands: _Operands, k: Any, index: int, kind: Any) -> Any:
    """Pointer of type `kind` to vector `index` of row `k` of the panel."""
    lanes = operands.vector.count
    offset = builder.add(builder.mul(k, INDEX(VECTORS * lanes)), INDEX(index * lanes))
    return builder.bitcast(builder.gep(operands.weights, [offset]), kind)


def _prefetch_next_panel(builder: Any, operands: _Operands, k: Any) -> None:
    """Fetch into the second-level cache what the next panel needs at the same depth.

    Without it the machine waits for memory in the first block of rows and computes in the others:
    measured 7 to 13 % slower from 13 rows on.
    """
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, SELECT, SELECT, SELECT])
    prefetch = _function(builder, kind, "llvm.prefetch.p0")
    row = builder.add(k, operands.depth)
    for index in range(VECTORS):
        pointer = _weights_at(builder, operands, row, index, byte)
        builder.call(prefetch, [pointer, *map(SELECT, READ_TO_SECOND_LEVEL)])


def _store_row(builder: Any, operands: _Operands, row: int, vectors: list[Any]) -> None:
    lanes = operands.vector.count
    start = builder.gep(operands.product, [builder.mul(operands.product_stride, INDEX(row))])
    for index, vector in enumerate(vectors):
        pointer = builder.gep(start, [INDEX(index * lanes)])
        builder.store(
            vector, builder.bitcast(pointer, operands.vector.as_pointer()), align=ALIGNMENT
        )


def _function(builder: Any, kind: ir.FunctionType, name: str) -> Any:
    return cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
