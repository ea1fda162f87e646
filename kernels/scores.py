# Triton declares that a jitted function called from a kernel returns nothing.
# pyright: reportGeneralTypeIssues=false
"""What the forward and the backward kernels share: which tiles a mask leaves, and the function that caps scores.

Row i sees the columns i + offset - window_left <= j <= i + offset + window_right. A side without a bound is not
compiled (BOUND_LEFT, BOUND_RIGHT).
"""

import triton
import triton.language as tl


@triton.jit
def key_tiles_of(
    first_row, last_row, offset, n_k, window_left, window_right,
    BLOCK_K: tl.constexpr, BOUND_LEFT: tl.constexpr, BOUND_RIGHT: tl.constexpr,
):  # fmt: skip
    """(begin, full_begin, full_end, end): the key tiles from begin to end have a key that one of these rows sees,
    and those from full_begin to full_end are seen whole by every row."""
    seen_from = n_k * 0
    seen_by_all_from = n_k * 0
    seen_to = n_k
    seen_by_all_to = n_k
    if BOUND_LEFT:
        seen_from = tl.minimum(tl.maximum(first_row + offset - window_left, 0), n_k)
        seen_by_all_from = tl.minimum(tl.maximum(last_row + offset - window_left, 0), n_k)
    if BOUND_RIGHT:
        seen_to = tl.minimum(tl.maximum(last_row + 1 + offset + window_right, 0), n_k)
        seen_by_all_to = tl.minimum(tl.maximum(first_row + 1 + offset + window_right, 0), n_k)
    begin = seen_from // BLOCK_K
    end = tl.where(seen_from < seen_to, (seen_to + BLOCK_K - 1) // BLOCK_K, begin)
    full_begin = tl.minimum((seen_by_all_from + BLOCK_K - 1) // BLOCK_K, end)
    full_end = tl.maximum(tl.minimum(seen_by_all_to // BLOCK_K, end), full_begin)
    return begin, full_begin, full_end, end


@triton.jit
def query_tiles_of(
    first_column, last_column, offset, n_q, window_left, window_right,
    BLOCK_Q: tl.constexpr, BOUND_LEFT: tl.constexpr, BOUND_RIGHT: tl.constexpr,
):  # fmt: skip
    """(begin, full_begin, full_end, end): the query tiles from begin to end have a row that sees one of these
    columns, and every row of those from full_begin to full_end sees all of them. Rows beyond the last count as
    seeing, unless the window has a left bound."""
    end = (n_q + BLOCK_Q - 1) // BLOCK_Q
    full_end = end
    begin = end * 0
    full_begin = end * 0
    if BOUND_RIGHT:  # i >= j - offset - window_right
        begin = tl.minimum(tl.maximum(first_column - offset - window_right, 0) // BLOCK_Q, end)
        full_begin = (tl.maximum(last_column - offset - window_right, 0) + BLOCK_Q - 1) // BLOCK_Q
        full_begin = tl.minimum(full_begin, end)
    if BOUND_LEFT:  # i <= j - offset + window_left
        seen_to = tl.minimum(tl.maximum(last_column + 1 - offset + window_left, 0), n_q)
        seen_by_all_to = tl.minimum(tl.maximum(first_column + 1 - offset + window_left, 0), n_q)
        end = tl.maximum((seen_to + BLOCK_Q - 1) // BLOCK_Q, begin)
        full_begin = tl.minimum(full_begin, end)
        full_end = tl.maximum(tl.minimum(seen_by_all_to // BLOCK_Q, end), full_begin)
    return begin, full_begin, full_end, end


@triton.jit
def tanh(x):
    """tanh in float32, to a few units in the last place: Triton has none that its interpreter can run."""
    # tanh |x| = (1 - e) / (1 + e) with e = exp(-2 |x|), which cannot overflow
    e = tl.exp2(tl.abs(x) * -2.8853900817779268)
    ratio = (1.0 - e) / (1.0 + e)
    # near 0, 1 - e cancels; there tanh x = x - x^3/3 + 2 x^5/15 - 17 x^7/315 + 62 x^9/2835 - ...
    square = x * x
    series = square * (0.13333333333333333 + square * (-0.05396825396825397 + square * 0.021869488536155203))
    series = x * (1.0 + square * (-0.3333333333333333 + series))
    return tl.where(tl.abs(x) < 0.25, series, tl.where(x < 0, -ratio, ratio))


@triton.jit
def add_product(a, b, acc):
    """acc + a b. In float32 the product of a tile is summed apart and then added: a chain of N additions onto acc would
    round N times at the size of the whole sum."""
    if a.dtype == tl.float32:
        # a fused multiply-add by 1, since the compiler would turn a plain addition into such a chain
        return tl.fma(tl.dot(a, b, input_precision="ieee"), tl.full(acc.shape, 1.0, tl.float32), acc)
    return tl.dot(a, b, acc, input_precision="ieee")
