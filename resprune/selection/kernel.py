"""The greedy choice as one kernel: a pivoted Cholesky factorisation of which each step costs one barrier, no launch.

The columns of an image are shared out among programs that stay on the processor together (a cooperative launch). At
each turn every program offers its best column; after the barrier all of them read the same offers, and so agree on the
pivot and on what comes next without another word. Written in Triton, which comes with PyTorch where there is CUDA.
"""

from __future__ import annotations

try:
    import triton
    import triton.language as tl
except ImportError:  # MPS, Windows, a build of PyTorch for the CPU
    triton = tl = None

# The kernels have these three written out, since Triton reads no numbers from outside.
FIELDS = 8  # of an image in ``jobs``
FAULTS = 3  # at the head of an image's row in ``told``: in the inner products, the weights, the tokens to come first
ALIGN = 16  # rows of the factor begin at multiples of it, so that four numbers are read at once


def _describe(jobs, arrived, told, image, gram, weights, first, factor, n, k, p, width):
    """Write down one image for :func:`_choose`: numbers known to the host travel with the launch, and no copy waits."""
    job = jobs + image * 8
    tl.store(job, gram.to(tl.int64))
    tl.store(job + 1, weights.to(tl.int64))
    tl.store(job + 2, first.to(tl.int64))
    tl.store(job + 3, factor.to(tl.int64))
    tl.store(job + 4, n.to(tl.int64))
    tl.store(job + 5, k.to(tl.int64))
    tl.store(job + 6, p.to(tl.int64))
    tl.store(arrived + image, 0)
    for fault in range(3):
        tl.store(told + image.to(tl.int64) * width + fault, 0)


def _choose(
    jobs,  # [B, FIELDS] int64, what _describe wrote
    factor,  # float32, all 0, of each image the columns of its factor as rows
    scores,  # [B, 2, P] float32, offers of the programs; two turns take turns
    tokens,  # [B, 2, P] int32
    energies,  # [B, 2, P] float32
    arrived,  # [B] int32, how often programs came to the barrier
    told,  # [B, FAULTS + K] int64, what was wrong, and the choice
    width,  # FAULTS + K
    SPENT: tl.constexpr,
    COLUMNS: tl.constexpr,  # of a program
    ROWS: tl.constexpr,  # of the factor at once
    PARTS: tl.constexpr,  # a power of two from P on
):
    part, image = tl.program_id(0), tl.program_id(1)
    job = jobs + image * 8
    gram = tl.load(job).to(tl.pointer_type(tl.float32))
    weights = tl.load(job + 1).to(tl.pointer_type(tl.float32))
    first = tl.load(job + 2).to(tl.pointer_type(tl.int64))
    factor += tl.load(job + 3) * 16
    n = tl.load(job + 4)
    k = tl.load(job + 5)
    p = tl.load(job + 6)
    stride = (k + 15) // 16 * 16
    parts = tl.cdiv(n, COLUMNS).to(tl.int32)
    last = tl.where(part < parts, k, 0)  # a smaller image of the batch has no columns for some programs
    told += image.to(tl.int64) * width
    offered = image * 2 * tl.num_programs(0)
    scores += offered
    tokens += offered
    energies += offered
    arrived += image

    place = tl.arange(0, COLUMNS)
    offers = tl.arange(0, PARTS)
    column = part * COLUMNS + place
    there = column < n
    wide = column.to(tl.int64)
    left = tl.load(gram + wide * n + wide, mask=there, other=0.0)
    weight = tl.load(weights + wide, mask=there, other=0.0)
    # Comparing with NaN is false. What is no number counts as nothing, so that no turn can wait or point elsewhere.
    known = tl.abs(left) < float("inf")
    fits = (weight >= 0) & (tl.abs(weight * tl.where(known, left, 0.0)) < float("inf")) & (weight < float("inf"))
    bad = there & ~known
    if tl.max((there & known & ~fits).to(tl.int32), 0) > 0:
        tl.store(told + 1, 1)
    left = tl.where(known, left, 0.0)
    weight = tl.where(there, tl.where(fits & known, weight, 0.0), -1.0)  # -1 once chosen, or where there is no column
    floor = SPENT * left

    step = k * 0  # tokens chosen
    turn = part * 0
    rank = step  # columns of the factor
    at = step  # of those to come first
    spent = turn > 0
    while step < last:
        forced = at < p
        wanted = tl.load(first + at, mask=forced, other=-1)
        alive = (weight >= 0) & (left > floor)
        by_energy = tl.where(alive, weight * left, -1.0)
        by_order = tl.where((weight >= 0) & (wide == wanted), 1.0, -1.0)
        score = tl.where(forced, by_order, tl.where(spent, weight, by_energy))
        best, where = tl.max(score, 0, return_indices=True)  # the lowest index of equals
        board = (turn % 2) * tl.num_programs(0)  # whoever is late still reads the other one
        tl.store(scores + board + part, best)
        tl.store(tokens + board + part, part * COLUMNS + where)
        tl.store(energies + board + part, tl.sum(tl.where(alive & (place == where), left, 0.0), 0))
        tl.debug_barrier()
        turn += 1
        here = tl.atomic_add(arrived, 1, sem="acq_rel", scope="gpu") + 1
        while here < turn * parts:
            here = tl.atomic_add(arrived, 0, sem="acq_rel", scope="gpu")
        tl.debug_barrier()
        among = offers < parts
        score = tl.load(scores + board + offers, mask=among, other=-2.0, volatile=True)
        token = tl.load(tokens + board + offers, mask=among, other=0, volatile=True)
        energy = tl.load(energies + board + offers, mask=among, other=0.0, volatile=True)
        best, where = tl.max(score, 0, return_indices=True)
        pivot = tl.sum(tl.where(offers == where, token, 0), 0).to(tl.int64)
        energy = tl.sum(tl.where(offers == where, energy, 0.0), 0)
        takes = tl.where(forced | spent, best >= 0, best > 0)
        if takes:
            if part == 0:
                tl.store(told + 3 + step, pivot)
            if (energy > 0) & ~spent:
                known_part = tl.zeros((COLUMNS,), tl.float32)
                # Masked in fours, so that four numbers are read at once. Those beyond are 0 in the own columns, and
                # finite in the pivot's, whose program may have written there already.
                end = (rank + 3) // 4 * 4
                for start in range(0, end.to(tl.int32), ROWS):
                    row = start + tl.arange(0, ROWS)
                    within = row < end
                    of_pivot = tl.load(factor + pivot * stride + row, mask=within, other=0.0, cache_modifier=".cg")
                    of_columns = tl.load(
                        factor + wide[:, None] * stride + row[None, :],
                        mask=there[:, None] & within[None, :],
                        other=0.0,
                        cache_modifier=".cg",
                    )
                    known_part += tl.sum(of_columns * of_pivot[None, :], 1)
                product = tl.load(gram + pivot * n + wide, mask=there, other=0.0)
                new = (product - known_part) * tl.rsqrt(energy)
                finite = tl.abs(new) < float("inf")
                bad |= there & ~finite
                new = tl.where(finite, new, 0.0)
                tl.store(factor + wide * stride + rank, new, mask=there)
                left -= new * new
                rank += 1
            weight = tl.where(wide == pivot, -1.0, weight)
            step += 1
        elif forced:
            tl.store(told + 2, 1)  # it is no token, or was named before
        else:
            spent = turn > 0
        at += forced.to(tl.int64)
    if tl.max(bad.to(tl.int32), 0) > 0:
        tl.store(told, 1)


# Numbers and addresses that a kernel is not made for anew; only those of the factor are known to be aligned.
_PLAIN = {
    "describe": ["image", "gram", "weights", "first", "factor", "n", "k", "p", "width"],
    "choose": ["jobs", "scores", "tokens", "energies", "arrived", "told", "width"],
}
if triton:
    describe = triton.jit(_describe, do_not_specialize=_PLAIN["describe"])
    choose = triton.jit(_choose, do_not_specialize=_PLAIN["choose"])
