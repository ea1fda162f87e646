"""The forward pass for Hopper GPUs (H100, H200): the same algorithm, its loads and products overlapped by hand.

FlashAttention-3 (Shah et al. 2024, arXiv:2407.08608), sections 3.1 and 3.2, in Gluon, Triton's lower level. It is the
fast twin of `flash_attention_forward` where `flash_attention_hopper.takes_problem`; tests/gpu holds both to one rule.

- Warp specialisation: one warp only loads tiles, by the tensor memory accelerator (TMA), into a ring of STAGES buffers;
  two or three warpgroups compute, 64 query rows each, and share every tile of keys and values. Barriers in shared
  memory say when a buffer is full (`ready`) and when all warpgroups have read it (`empty`).
- Two stages of softmax: the tensor cores compute S = Q K^T of this tile and O += P V of the tile before while the
  warpgroup exponentiates. Key tiles go from the last to the first, so that the masked ones come first.
- Programs that stay: one on each multiprocessor takes query tiles until none is left, so that the loads of the next
  tile overlap with the end of this one.

Scores are in units of ln 2, as in the other kernels; L is stored in natural units.
"""

# Gluon declares types of its own, which the checker cannot follow into kernels.
# pyright: reportGeneralTypeIssues=false, reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
# pyright: reportAssignmentType=false

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

ROWS = 64  # query rows of a warpgroup, the least that its products take
WARPGROUP_ROWS = gl.constexpr(ROWS)

# Their names changed between triton 3.6 and 3.9.
load_tile = tma.async_load if hasattr(tma, "async_load") else tma.async_copy_global_to_shared
store_tile = tma.async_store if hasattr(tma, "async_store") else tma.async_copy_shared_to_global


@gluon.jit
def work_item(i, sizes, BLOCK_Q: gl.constexpr, BLOCK_K: gl.constexpr, CAUSAL: gl.constexpr):
    """(batch, head, first_row, key_tiles) of this program's i-th query tile.

    Tiles are ordered by heads that go `together`, within them from the last (under a causal mask the longest) to the
    first. Programs take them in turn, every other time in reverse, which evens out the lengths.
    """
    n_q, n_k, heads, _batches, together = sizes
    programs = gl.num_programs(0)
    turn = gl.program_id(0)
    turn = gl.where(i % 2 == 0, turn, programs - 1 - turn)
    index = i * programs + turn
    query_tiles = (n_q + BLOCK_Q - 1) // BLOCK_Q
    within = index % (together * query_tiles)
    batch_head = index // (together * query_tiles) * together + within % together
    first_row = (query_tiles - 1 - within // together) * BLOCK_Q
    key_tiles = (n_k + BLOCK_K - 1) // BLOCK_K
    if CAUSAL:
        last_row = gl.minimum(first_row + BLOCK_Q, n_q) - 1
        key_tiles = gl.minimum(key_tiles, (last_row + n_k - n_q) // BLOCK_K + 1)
    return batch_head // heads, batch_head % heads, first_row, key_tiles


@gluon.jit
def work_items(sizes, BLOCK_Q: gl.constexpr):
    """How many query tiles this program takes."""
    n_q, _n_k, heads, batches, _together = sizes
    total = (n_q + BLOCK_Q - 1) // BLOCK_Q * heads * batches
    programs = gl.num_programs(0)
    rounds = total // programs
    turn = gl.program_id(0)
    turn = gl.where(rounds % 2 == 0, turn, programs - 1 - turn)
    return rounds + gl.where(turn < total % programs, 1, 0)


@gluon.jit
def softmax_step(
    scores, m, scale_log2, first_row, first_column, n_q, n_k,
    scores_layout: gl.constexpr, CAUSAL: gl.constexpr, MASKED: gl.constexpr,
):  # fmt: skip
    """(P, alpha, m_new) of one tile of scores."""
    if MASKED:
        columns = first_column + gl.arange(0, scores.shape[1], gl.SliceLayout(0, scores_layout))
        seen = (columns < n_k)[None, :]
        if CAUSAL:
            rows = first_row + gl.arange(0, WARPGROUP_ROWS, gl.SliceLayout(1, scores_layout))
            seen = seen & (columns[None, :] <= rows[:, None] + n_k - n_q)
        scores = gl.where(seen, scores, float("-inf"))
    # m_new = max(m, rowmax(scale S))
    m_new = gl.maximum(m, gl.max(scores, 1) * scale_log2)
    # P = exp(scale S - m_new), alpha = exp(m - m_new)
    subtracted = m_new
    if MASKED:  # in a row that has seen no key yet exp(-inf - -inf) would be NaN, so subtract 0
        subtracted = gl.where(m_new == float("-inf"), 0.0, m_new)
    weights = gl.exp2(scores * scale_log2 - subtracted[:, None])
    alpha = gl.exp2(m - subtracted)
    return weights, alpha, m_new


@gluon.jit
def overlapped_step(
    key_tile, load, q, buffers, barriers, weights, acc, m, l, scale_log2, first_row, n_q, n_k,
    scores_layout: gl.constexpr, weights_layout: gl.constexpr, row_layout: gl.constexpr,
    BLOCK_K: gl.constexpr, STAGES: gl.constexpr, CAUSAL: gl.constexpr, MASKED: gl.constexpr,
):  # fmt: skip
    """(weights, acc, m, l) after the scores of `key_tile` and the product P V of the tile before it, both in flight at
    once. load: how many tiles this program has loaded before this one, which tells buffer and phase."""
    k_buffers, v_buffers = buffers
    k_ready, k_empty, v_ready, v_empty = barriers
    stage = load % STAGES
    stage_before = (load - 1) % STAGES
    # S = Q K^T, and O = O + P V of the tile before
    mbarrier.wait(k_ready.index(stage), load // STAGES & 1)
    zeros = gl.zeros([WARPGROUP_ROWS, BLOCK_K], gl.float32, scores_layout)
    keys = k_buffers.index(stage).permute((1, 0))
    scores_in_flight = warpgroup_mma(q, keys, zeros, use_acc=False, is_async=True)
    mbarrier.wait(v_ready.index(stage_before), (load - 1) // STAGES & 1)
    acc_in_flight = warpgroup_mma(weights, v_buffers.index(stage_before), acc, is_async=True)
    scores = warpgroup_mma_wait(1, deps=(scores_in_flight,))
    mbarrier.arrive(k_empty.index(stage))

    next_weights, alpha, m = softmax_step(
        scores, m, scale_log2, first_row, key_tile * BLOCK_K, n_q, n_k, scores_layout, CAUSAL, MASKED
    )
    # l = alpha l + rowsum(P), O = alpha O
    l = l * alpha + gl.sum(next_weights, 1)
    acc, weights = warpgroup_mma_wait(0, deps=(acc_in_flight, weights))
    mbarrier.arrive(v_empty.index(stage_before))
    acc = acc * gl.convert_layout(alpha, row_layout)[:, None]
    return gl.convert_layout(next_weights.to(k_buffers.dtype), weights_layout), acc, m, l


@gluon.jit
def attend(
    shared, scale_log2,
    HEAD_DIM: gl.constexpr, BLOCK_K: gl.constexpr, STAGES: gl.constexpr, CAUSAL: gl.constexpr, RAGGED: gl.constexpr,
    WARPGROUPS: gl.constexpr, WARPGROUP: gl.constexpr,
):  # fmt: skip
    """What a computing warpgroup does: its 64 rows of each query tile of the program."""
    output_descriptor, lse_ptr, q_buffers, output_buffers, buffers, q_barriers, barriers, sizes = shared
    n_q, n_k, heads, _batches, _together = sizes
    k_buffers, v_buffers = buffers
    q_ready, q_empty = q_barriers
    k_ready, k_empty, v_ready, v_empty = barriers
    scores_layout: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, BLOCK_K, 16]
    )
    output_layout: gl.constexpr = gl.NVMMADistributedLayout(
        version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, HEAD_DIM, 16]
    )
    weights_layout: gl.constexpr = gl.DotOperandLayout(operand_index=0, parent=output_layout, k_width=2)
    score_rows: gl.constexpr = gl.SliceLayout(1, scores_layout)
    row_layout: gl.constexpr = gl.SliceLayout(1, output_layout)
    BLOCK_Q: gl.constexpr = WARPGROUP_ROWS * WARPGROUPS
    q = q_buffers.index(WARPGROUP)
    load = n_q * 0
    for i in range(work_items(sizes, BLOCK_Q)):
        batch, head, first_row, key_tiles = work_item(i, sizes, BLOCK_Q, BLOCK_K, CAUSAL)
        first_row += WARPGROUP * WARPGROUP_ROWS
        # Tiles below own_tiles have a key that these 64 rows see, those below full_tiles are seen whole.
        own_tiles = key_tiles
        full_tiles = n_k // BLOCK_K
        if CAUSAL:
            own_tiles = gl.minimum(key_tiles, (first_row + WARPGROUP_ROWS - 1 + n_k - n_q) // BLOCK_K + 1)
            full_tiles = gl.minimum(full_tiles, (first_row + n_k - n_q + 1) // BLOCK_K)
        for _ in range(own_tiles, key_tiles):  # only the other warpgroups need these
            mbarrier.wait(k_ready.index(load % STAGES), load // STAGES & 1)
            mbarrier.arrive(k_empty.index(load % STAGES))
            mbarrier.wait(v_ready.index(load % STAGES), load // STAGES & 1)
            mbarrier.arrive(v_empty.index(load % STAGES))
            load += 1

        # The first tile: nothing to overlap with yet.
        m = gl.full([WARPGROUP_ROWS], float("-inf"), gl.float32, score_rows)
        acc = gl.zeros([WARPGROUP_ROWS, HEAD_DIM], gl.float32, output_layout)
        mbarrier.wait(q_ready.index(WARPGROUP), i & 1)
        mbarrier.wait(k_ready.index(load % STAGES), load // STAGES & 1)
        zeros = gl.zeros([WARPGROUP_ROWS, BLOCK_K], gl.float32, scores_layout)
        keys = k_buffers.index(load % STAGES).permute((1, 0))
        scores_in_flight = warpgroup_mma(q, keys, zeros, use_acc=False, is_async=True)
        scores = warpgroup_mma_wait(0, deps=(scores_in_flight,))
        mbarrier.arrive(k_empty.index(load % STAGES))
        weights, _alpha, m = softmax_step(
            scores, m, scale_log2, first_row, (own_tiles - 1) * BLOCK_K, n_q, n_k,
            scores_layout, CAUSAL, CAUSAL or RAGGED,
        )  # fmt: skip
        l = gl.sum(weights, 1)
        weights = gl.convert_layout(weights.to(k_buffers.dtype), weights_layout)

        masked_tiles = gl.maximum(own_tiles - full_tiles, 1)
        for j in range(1, masked_tiles):
            weights, acc, m, l = overlapped_step(
                own_tiles - 1 - j, load + j, q, buffers, barriers, weights, acc, m, l, scale_log2, first_row, n_q, n_k,
                scores_layout, weights_layout, row_layout, BLOCK_K, STAGES, CAUSAL, True,
            )  # fmt: skip
        for j in range(masked_tiles, own_tiles):
            weights, acc, m, l = overlapped_step(
                own_tiles - 1 - j, load + j, q, buffers, barriers, weights, acc, m, l, scale_log2, first_row, n_q, n_k,
                scores_layout, weights_layout, row_layout, BLOCK_K, STAGES, CAUSAL, False,
            )  # fmt: skip
        load += own_tiles
        mbarrier.arrive(q_empty.index(WARPGROUP))

        # The last P V; meanwhile L = m + log(l)
        last = load - 1
        mbarrier.wait(v_ready.index(last % STAGES), last // STAGES & 1)
        acc_in_flight = warpgroup_mma(weights, v_buffers.index(last % STAGES), acc, is_async=True)
        divisor = gl.where(l == 0.0, 1.0, l)
        lse = gl.where(l == 0.0, float("-inf"), (m + gl.log2(divisor)) * 0.6931471805599453)
        rows = first_row + gl.arange(0, WARPGROUP_ROWS, score_rows)
        lse_row = (batch * heads + head).to(gl.int64) * n_q
        gl.store(lse_ptr + lse_row + rows, lse, mask=rows < n_q)
        acc, weights = warpgroup_mma_wait(0, deps=(acc_in_flight, weights))
        mbarrier.arrive(v_empty.index(last % STAGES))

        # O = acc / l; rows beyond the last are not stored, as the descriptor knows where the tensor ends
        output = acc * gl.convert_layout(1.0 / divisor, row_layout)[:, None]
        tma.store_wait(0)
        output_buffers.index(WARPGROUP).store(output.to(k_buffers.dtype))
        fence_async_shared()
        store_tile(output_descriptor, [batch, head, first_row, 0], output_buffers.index(WARPGROUP))
    tma.store_wait(0)


@gluon.jit
def load_tiles(
    loading, BLOCK_K: gl.constexpr, STAGES: gl.constexpr, CAUSAL: gl.constexpr, WARPGROUPS: gl.constexpr
):
    """What the loading warp does: Q, then K and V from the last tile to the first, for each query tile."""
    descriptors, q_buffers, buffers, q_barriers, barriers, sizes, group = loading
    q_descriptor, k_descriptor, v_descriptor = descriptors
    k_buffers, v_buffers = buffers
    q_ready, q_empty = q_barriers
    k_ready, k_empty, v_ready, v_empty = barriers
    load = sizes[0] * 0
    for i in range(work_items(sizes, WARPGROUP_ROWS * WARPGROUPS)):
        batch, head, first_row, key_tiles = work_item(i, sizes, WARPGROUP_ROWS * WARPGROUPS, BLOCK_K, CAUSAL)
        for warpgroup in gl.static_range(WARPGROUPS):
            mbarrier.wait(q_empty.index(warpgroup), (i & 1) ^ 1)
            mbarrier.expect(q_ready.index(warpgroup), q_descriptor.block_type.nbytes)
            row = first_row + warpgroup * WARPGROUP_ROWS
            load_tile(
                q_descriptor, [batch, head, row, 0], q_ready.index(warpgroup), q_buffers.index(warpgroup)
            )
        for j in range(key_tiles):
            row = (key_tiles - 1 - j) * BLOCK_K
            stage = load % STAGES
            phase = (load // STAGES & 1) ^ 1
            mbarrier.wait(k_empty.index(stage), phase)
            mbarrier.expect(k_ready.index(stage), k_descriptor.block_type.nbytes)
            load_tile(
                k_descriptor, [batch, head // group, row, 0], k_ready.index(stage), k_buffers.index(stage)
            )
            mbarrier.wait(v_empty.index(stage), phase)
            mbarrier.expect(v_ready.index(stage), v_descriptor.block_type.nbytes)
            load_tile(
                v_descriptor, [batch, head // group, row, 0], v_ready.index(stage), v_buffers.index(stage)
            )
            load += 1


@gluon.jit
def barriers_of(count: gl.constexpr, arrivals: gl.constexpr):
    """`count` barriers, each of which completes a phase after `arrivals`."""
    barriers = gl.allocate_shared_memory(gl.int64, [count, 1], mbarrier.MBarrierLayout())
    for index in gl.static_range(count):
        mbarrier.init(barriers.index(index), count=arrivals)
    return barriers


@gluon.jit(do_not_specialize=["n_q", "n_k", "heads", "batches", "together"])
def flash_attention_forward_hopper(
    q_descriptor, k_descriptor, v_descriptor, output_descriptor, lse_ptr,
    n_q, n_k, heads, batches, together, group, scale_log2,
    HEAD_DIM: gl.constexpr, BLOCK_K: gl.constexpr, STAGES: gl.constexpr, CAUSAL: gl.constexpr, RAGGED: gl.constexpr,
    WARPGROUPS: gl.constexpr, REGISTERS: gl.constexpr,
):  # fmt: skip
    dtype: gl.constexpr = q_descriptor.dtype
    rows_layout: gl.constexpr = gl.NVMMASharedLayout.get_default_for([WARPGROUP_ROWS, HEAD_DIM], dtype)
    keys_layout: gl.constexpr = gl.NVMMASharedLayout.get_default_for([BLOCK_K, HEAD_DIM], dtype)
    q_buffers = gl.allocate_shared_memory(dtype, [WARPGROUPS, WARPGROUP_ROWS, HEAD_DIM], rows_layout)
    output_buffers = gl.allocate_shared_memory(dtype, [WARPGROUPS, WARPGROUP_ROWS, HEAD_DIM], rows_layout)
    k_buffers = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_K, HEAD_DIM], keys_layout)
    v_buffers = gl.allocate_shared_memory(dtype, [STAGES, BLOCK_K, HEAD_DIM], keys_layout)
    q_barriers = (barriers_of(WARPGROUPS, 1), barriers_of(WARPGROUPS, 1))  # ready, empty
    k_ready = barriers_of(STAGES, 1)
    k_empty = barriers_of(STAGES, WARPGROUPS)
    v_ready = barriers_of(STAGES, 1)
    v_empty = barriers_of(STAGES, WARPGROUPS)
    fence_async_shared()

    descriptors = (q_descriptor, k_descriptor, v_descriptor)
    buffers = (k_buffers, v_buffers)
    barriers = (k_ready, k_empty, v_ready, v_empty)
    sizes = (n_q, n_k, heads, batches, together)
    shared = (output_descriptor, lse_ptr, q_buffers, output_buffers, buffers, q_barriers, barriers, sizes)
    loading = (descriptors, q_buffers, buffers, q_barriers, barriers, sizes, group)
    if WARPGROUPS == 2:
        gl.warp_specialize([
            (attend, (shared, scale_log2, HEAD_DIM, BLOCK_K, STAGES, CAUSAL, RAGGED, WARPGROUPS, 0)),
            (attend, (shared, scale_log2, HEAD_DIM, BLOCK_K, STAGES, CAUSAL, RAGGED, WARPGROUPS, 1)),
            (load_tiles, (loading, BLOCK_K, STAGES, CAUSAL, WARPGROUPS)),
        ], [4, 1], [REGISTERS, 24])  # fmt: skip
    else:
        gl.warp_specialize([
            (attend, (shared, scale_log2, HEAD_DIM, BLOCK_K, STAGES, CAUSAL, RAGGED, WARPGROUPS, 0)),
            (attend, (shared, scale_log2, HEAD_DIM, BLOCK_K, STAGES, CAUSAL, RAGGED, WARPGROUPS, 1)),
            (attend, (shared, scale_log2, HEAD_DIM, BLOCK_K, STAGES, CAUSAL, RAGGED, WARPGROUPS, 2)),
            (load_tiles, (loading, BLOCK_K, STAGES, CAUSAL, WARPGROUPS)),
        ], [4, 4, 1], [REGISTERS, REGISTERS, 24])  # fmt: skip
