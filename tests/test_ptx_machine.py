"""The PTX machine: memory, what lanes do together, products of matrices; and planted mistakes, each to be reported."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import gpu_kernels
import subprocesses
from emulated_cupy import nvrtc
from ptx_snippets import kernel, launch, run

pytestmark = pytest.mark.skipif(not subprocesses.has_compiler(), reason="no C compiler")
needs_nvrtc = pytest.mark.skipif(nvrtc.library() is None, reason=nvrtc.MISSING)
RNG = np.random.default_rng(11)
LANE = np.arange(32, dtype="u4")


# -- memory
def test_vectors_narrow_loads_and_shared_memory() -> None:
    a = RNG.integers(0, 256, 32 * 16, np.uint8)
    body = """
    { .reg .b32 w, x, y, z, to, lane4; .reg .b64 from; .reg .s16 h;
      .shared .align 16 .b8 buffer[512];
      and.b32 lane4, %lane, 31;
      mad.wide.u32 from, %lane, 15, a_at;
      ld.global.v4.u32 {w, x, y, z}, [from];
      mov.u32 to, buffer; mad.lo.u32 to, lane4, 16, to;
      st.shared.v2.u32 [to], {y, w}; st.shared.v2.u32 [to + 8], {x, z};
      bar.sync 0;
      xor.b32 lane4, lane4, 1;
      mov.u32 to, buffer; mad.lo.u32 to, lane4, 16, to;
      ld.shared.s8 r, [to + 1]; ld.shared.u8 s, [to + 2]; ld.shared.s16 h, [to + 4]; cvt.s32.s16 t, h;
    }"""
    inputs = [a[:32]]
    outputs = [np.zeros(32, kind) for kind in ("i4", "u4", "i4")]
    made = kernel(body, inputs, outputs)
    assert not launch(made, [a, *outputs], 32)
    words = np.stack([a.reshape(32, 16)[:, 4 * i : 4 * i + 4] for i in (2, 0, 1, 3)], 1).reshape(32, 16)[LANE ^ 1]
    np.testing.assert_array_equal(outputs[0], words[:, 1].view("i1"))
    np.testing.assert_array_equal(outputs[1], words[:, 2])
    np.testing.assert_array_equal(outputs[2], words[:, 4:6].copy().view("i2")[:, 0])


def test_registers_wider_than_what_they_have_in_memory() -> None:
    """In the odd lanes alone; the others keep what they had."""
    a = RNG.integers(0, 256, 32, np.uint8)
    body = """
    { .reg .b64 place; .reg .b32 odd; .reg .pred is_odd; .local .align 8 .b8 depot[8]; mov.u64 place, depot;
      and.b32 odd, %lane, 1; setp.eq.u32 is_odd, odd, 1;
      mov.u64 r, 7; @is_odd ld.global.s8 r, [a_at];
      st.local.u16 [place], r; ld.local.u16 s, [place];
    }"""
    outputs = [np.zeros(32, "i8"), np.zeros(32, "u4")]
    assert not launch(kernel(body, [a], outputs), [a, *outputs], 32)
    expected = np.where(LANE % 2, a.view("i1"), 7)
    np.testing.assert_array_equal(outputs[0], expected)
    np.testing.assert_array_equal(outputs[1], expected.astype("u2"))


def test_registers_wider_than_what_is_moved() -> None:
    """A load extends it, a store takes its low half, and lanes of the two widths are not mixed up."""
    a, b = RNG.integers(-(2**31), 2**31, 32).astype("i4"), RNG.integers(0, 2**63, 32).astype("i8")
    body = "ld.global.s32 r, [a_at]; st.global.u32 [a_at], b;"
    outputs = [np.zeros(32, "i8")]
    made = kernel(body, [a, b], outputs)
    before = a.copy()
    assert not launch(made, [a, b, *outputs], 32)
    np.testing.assert_array_equal(outputs[0], before)
    np.testing.assert_array_equal(a, b.astype("i4"))


def test_variables_local_memory_and_generic_addresses() -> None:
    declarations = ".const .align 4 .u32 table[4] = {7, 5, 3, 1};\n.global .align 8 .u64 total;"
    body = """
    { .reg .b64 p, q; .reg .b32 i, v; .local .align 8 .b8 depot[64]; .reg .pred is;
      and.b32 i, %lane, 3;
      mov.u64 p, table; mad.wide.u32 p, i, 4, p; ld.const.u32 v, [p];
      mov.u64 q, depot; mad.wide.u32 q, i, 4, q; st.local.u32 [q], v;
      cvta.local.u64 p, q; ld.u32 r, [p];
      isspacep.local is, p; selp.u32 s, 1, 0, is;
      mov.u64 p, total; st.global.u64 [p], 9; ld.global.u32 t, [p];
    }"""
    r, s, t = run(body, [LANE], "u4", "u4", "u4", declarations=declarations)
    np.testing.assert_array_equal(r, np.array([7, 5, 3, 1])[LANE % 4])
    assert (s == 1).all()
    assert (t == 9).all()


def test_a_register_may_be_wider_than_what_is_loaded() -> None:
    values = (LANE * 0x1234567 - 2**30).astype("i4")
    signed, unsigned = run("ld.global.s32 r, [a_at]; ld.global.u32 s, [a_at];", [values], "i8", "u8")
    np.testing.assert_array_equal(signed, values)
    np.testing.assert_array_equal(unsigned, values.view("u4"))


ATOMICS = [
    ("add.u32", "u4", lambda values: values.sum(dtype="u4")),
    ("min.s32", "i4", np.min),
    ("max.u32", "u4", np.max),
    ("and.b32", "u4", np.bitwise_and.reduce),
    ("or.b32", "u4", np.bitwise_or.reduce),
    ("xor.b64", "u8", np.bitwise_xor.reduce),
    ("add.u64", "u8", lambda values: values.sum(dtype="u8")),
    ("max.s64", "i8", np.max),
    ("add.f32", "f4", np.sum),
    ("add.f64", "f8", np.sum),
]


@pytest.mark.parametrize("space", ["global", "shared"])
@pytest.mark.parametrize(("operation", "kind", "function"), ATOMICS, ids=[row[0] for row in ATOMICS])
def test_atomics(space: str, operation: str, kind: str, function: Any) -> None:
    """All threads on one address: no race, and the sum of all."""
    a = RNG.integers(-50 if kind[0] in "if" else 0, 50, 64).astype(kind)
    bits = 8 * a.itemsize
    body = f"""
    {{ .reg .b64 p; .reg .b{bits} v; .shared .align 8 .b8 cell[8]; .reg .b32 q; .reg .pred first;
      setp.eq.u32 first, %lane, 0;
      mov.u32 q, cell; mov.u64 p, total;
      @first st.shared.b{bits} [q], a; @first st.global.b{bits} [p], a;
      bar.sync 0;
      @!first {"red" if operation == "add.f32" else "atom"}.{space}.{operation}
          {"" if operation == "add.f32" else "v,"} [{"p" if space == "global" else "q"}], a;
      bar.sync 0;
      ld.{space}.b{bits} r, [{"p" if space == "global" else "q"}];
    }}"""
    (found,) = run(body, [a], kind, declarations=".global .align 8 .u64 total;", seed=3)
    assert (found == function(a)).all()


def test_exchange_and_compare_and_swap_give_the_old_value() -> None:
    body = """
    { .reg .b64 p; mov.u64 p, cell; .reg .pred one; setp.eq.u32 one, %lane, 5;
      mov.b32 r, 77; mov.b32 s, 77;
      @one atom.global.exch.b32 r, [p], 4; bar.warp.sync 0xffffffff;
      @one atom.global.cas.b32 s, [p], 4, 6; bar.warp.sync 0xffffffff;
      @one atom.global.cas.b32 s, [p], 4, 8; bar.warp.sync 0xffffffff;
      ld.global.u32 t, [p]; }"""
    r, s, t = run(body, [LANE], "u4", "u4", "u4", declarations=".global .align 4 .u32 cell = 3;")
    assert (r[5], s[5], t[0]) == (3, 6, 6)


# -- control flow
def test_lanes_that_part_come_together() -> None:
    body = """
    { .reg .pred p, q; .reg .b32 n, v, all;
      and.b32 n, %lane, 7; mov.u32 v, 0;
    again: setp.eq.u32 p, n, 0; @p bra done; add.u32 v, v, n; sub.u32 n, n, 1; bra again;
    done: setp.gt.u32 q, %lane, 15; @q bra high; add.u32 v, v, 1000; bra both;
    high: add.u32 v, v, 2000;
    both: activemask.b32 all; mov.u32 r, v; mov.u32 s, all; }"""
    r, s = run(body, [LANE], "u4", "u4")
    n = LANE % 8
    np.testing.assert_array_equal(r, n * (n + 1) // 2 + np.where(LANE > 15, 2000, 1000))
    assert (s == 0xFFFFFFFF).all()


def test_branches_by_a_table() -> None:
    body = """
    { .reg .b32 i; and.b32 i, %lane, 3; mov.u32 r, 0;
    table: .branchtargets zero, one, two, zero;
      brx.idx i, table;
    one: mov.u32 r, 10; bra end;
    two: mov.u32 r, 20; bra end;
    zero: mov.u32 r, 30;
    end: }"""
    np.testing.assert_array_equal(run(body, [LANE], "u4")[0], np.array([30, 10, 20, 30])[LANE % 4])


# -- what lanes do together
def test_shuffles_votes_and_reductions() -> None:
    a = RNG.integers(-100, 100, 32).astype("i4")
    modes = {"idx": "3, 31", "up": "1, 0", "down": "2, 31", "bfly": "5, 31"}
    found = {mode: run(f"shfl.sync.{mode}.b32 r, a, {how}, -1;", [a], "i4")[0] for mode, how in modes.items()}
    np.testing.assert_array_equal(found["idx"], a[3].repeat(32))
    np.testing.assert_array_equal(found["up"], np.r_[a[0], a[:-1]])
    np.testing.assert_array_equal(found["down"], np.r_[a[2:], a[30:]])
    np.testing.assert_array_equal(found["bfly"], a[LANE ^ 5])
    (r, s) = run("{ .reg .pred p; shfl.sync.down.b32 r|p, a, 2, 0x1c07, -1; selp.u32 s, 1, 0, p; }", [a], "i4", "u4")
    inside = LANE % 4 < 2  # segments of 4 lanes
    np.testing.assert_array_equal(r, a[np.where(inside, LANE + 2, LANE)])
    np.testing.assert_array_equal(s, inside)
    body = """{ .reg .pred p, q; setp.gt.s32 p, a, 0; vote.sync.ballot.b32 r, p, -1;
              vote.sync.any.pred q, p, -1; selp.u32 s, 1, 0, q; redux.sync.min.s32 t, a, -1; }"""
    r, s, t = run(body, [a], "u4", "u4", "i4")
    assert (r == sum(1 << int(lane) for lane in LANE if a[lane] > 0)).all()
    assert (s == 1).all()
    assert (t == a.min()).all()
    few = a % 3
    (found_same,) = run("match.any.sync.b32 r, a, -1;", [few], "u4")
    np.testing.assert_array_equal(found_same, [sum(1 << k for k in range(32) if few[k] == v) for v in few])


def matrix_address(transposed: bool) -> str:
    return f".sync.aligned.m8n8.x2{'.trans' if transposed else ''}.shared.b16"


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_to_and_from_registers(transposed: bool) -> None:
    """ldmatrix and stmatrix: lane l has elements (l / 4, l % 4 * 2) and the next of each 8 x 8 matrix."""
    tiles = RNG.integers(0, 1 << 16, (2, 8, 8)).astype("u2")
    body = f"""
    {{ .reg .b32 p, q, x, y; .shared .align 16 .b8 from[256]; .shared .align 16 .b8 into[256];
      mov.u32 p, from; mad.lo.u32 q, %lane, 8, p; st.shared.b64 [q], a; bar.sync 0;
      and.b32 x, %lane, 15; mad.lo.u32 q, x, 16, p;
      ldmatrix{matrix_address(transposed)} {{r, s}}, [q];
      mov.u32 p, into; mad.lo.u32 q, x, 16, p; mov.u32 x, r; mov.u32 y, s;
      stmatrix{matrix_address(transposed)} [q], {{x, y}}; bar.sync 0;
      mad.lo.u32 q, %lane, 8, p; ld.shared.b64 t, [q]; }}"""
    r, s, t = run(body, [tiles.view("u8").reshape(-1)], "u4", "u4", "u8")
    for tile, register in zip(tiles, (r, s), strict=True):
        held = tile.T if transposed else tile
        np.testing.assert_array_equal(register.view("u2").reshape(32, 2), held.reshape(32, 2))
    np.testing.assert_array_equal(t.view("u2").reshape(2, 8, 8), tiles)


GROUP, COLUMN = LANE // 4, LANE % 4


def fragments_a(a: np.ndarray, per: int) -> list[np.ndarray]:
    """Registers of a 16 x k matrix: rows g and g + 8, runs of ``per`` along k at 4 lanes, again for the second half."""
    words = []
    for half in range(a.shape[1] // (4 * per)):
        for rows in (GROUP, GROUP + 8):
            columns = half * 4 * per + COLUMN[:, None] * per + np.arange(per)
            words.append(np.ascontiguousarray(a[rows[:, None], columns]).view("u4")[:, 0])
    return words


def fragments_b(b: np.ndarray, per: int) -> list[np.ndarray]:
    return [word for i, word in enumerate(fragments_a(np.concatenate([b.T, b.T]), per)) if i % 2 == 0]


PRODUCTS = [
    ("m16n8k16", "bf16", ml_dtypes.bfloat16, "f32"),
    ("m16n8k8", "bf16", ml_dtypes.bfloat16, "f32"),
    ("m16n8k16", "f16", np.float16, "f32"),
    ("m16n8k8", "tf32", np.float32, "f32"),
    ("m16n8k4", "tf32", np.float32, "f32"),
    ("m16n8k32", "s8", np.int8, "s32"),
    ("m16n8k16", "u8", np.uint8, "s32"),
]


@pytest.mark.parametrize(("shape", "kind", "dtype", "sums"), PRODUCTS, ids=[f"{row[0]} {row[1]}" for row in PRODUCTS])
def test_products_of_matrices(shape: str, kind: str, dtype: Any, sums: str) -> None:
    depth, per = int(shape.rpartition("k")[2]), 4 // np.dtype(dtype).itemsize
    low = 0 if kind == "u8" else -4
    a, b = (RNG.integers(low, 5, size).astype(dtype) for size in ((16, depth), (depth, 8)))
    c = RNG.integers(-9, 9, (16, 8)).astype("f4" if sums == "f32" else "i4")
    exact = (a.astype("f8") @ b.astype("f8") + c).astype(c.dtype)
    c_words = [c[GROUP + i // 2 * 8, 2 * COLUMN + i % 2] for i in range(4)]
    words = [*fragments_a(a, per), *fragments_b(b, per)]
    n_a, n_b = depth // (4 * per) * 2, depth // (4 * per)
    names = "abcdefghij"[: n_a + n_b]
    product = f"mma.sync.aligned.{shape}.row.col.{sums}.{kind}.{kind}.{sums}"
    moves = " ".join(f"mov.b32 {name}, {value};" for name, value in zip("wxyz", "rstu", strict=True))
    body = f"""{{ .reg .b32 w, x, y, z; {product} {{r, s, t, u}}, {{{", ".join(names[:n_a])}}},
               {{{", ".join(names[n_a:])}}}, {{0, 0, 0, 0}}; {moves} }}"""
    found = run(body, words, *[c.dtype.str] * 4)
    for register, expected in zip(found, c_words, strict=True):
        row = np.argwhere([np.array_equal(expected, x) for x in c_words])[0, 0]
        want = exact[GROUP + row // 2 * 8, 2 * COLUMN + row % 2] - expected
        np.testing.assert_array_equal(register, want)


def test_product_of_doubles() -> None:
    a, b, c = (RNG.integers(-9, 9, size).astype(float) for size in ((8, 4), (4, 8), (8, 8)))
    words = [a[GROUP, COLUMN], b[COLUMN, GROUP], c[GROUP, 2 * COLUMN], c[GROUP, 2 * COLUMN + 1]]
    found = run("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {r, s}, {a}, {b}, {c, d};", words, "f8", "f8")
    for i, register in enumerate(found):
        np.testing.assert_array_equal(register, (a @ b + c)[GROUP, 2 * COLUMN + i])


# -- counts
@pytest.mark.parametrize(("stride", "sectors"), [(1, 4), (2, 8), (8, 32), (0, 1)])
def test_sectors_are_counted(stride: int, sectors: int) -> None:
    body = f"{{ .reg .b64 p; mad.wide.s32 p, %lane, {4 * stride - 4}, a_at; ld.global.u32 r, [p]; }}"
    array = np.zeros(32 * 8 + 8, "u4")
    array = array[-(array.ctypes.data // 4) % 8 :][: 32 * 8]
    out = np.zeros(32, "u4")
    made = kernel(body, [array], [out])
    assert not launch(made, [array, out], 32)
    access = next(x for x in made.counts.accesses() if x.text == "ld.global.u32 r, [p]")
    assert (access.executed, access.moved, access.least) == (1, sectors, 4)


def test_sectors_that_a_block_has_touched_are_counted_once() -> None:
    """The second line is the first one, three elements further."""
    body = "ld.global.u32 r, [a_at+128]; ld.global.u32 r, [a_at+140];"
    array = np.zeros(32 * 3 + 8, "u4")
    array = array[-(array.ctypes.data // 4) % 8 :][: 32 * 3]
    out = np.zeros(32, "u4")
    made = kernel(body, [array], [out])
    assert not launch(made, [array, out], 32)
    first, second = (x for x in made.counts.accesses() if x.text.startswith("ld.global.u32 r"))
    assert (first.moved, first.touched) == (4, 4)
    assert (second.moved, second.touched) == (5, 1)


@pytest.mark.parametrize(("stride", "wavefronts"), [(1, 1), (2, 2), (32, 32), (33, 1), (0, 1)])
def test_bank_conflicts_are_counted(stride: int, wavefronts: int) -> None:
    body = f"""{{ .reg .b32 p; .shared .align 16 .b8 rows[4352];
               mov.u32 p, rows; mad.lo.u32 p, %lane, {4 * stride}, p; ld.shared.u32 r, [p]; }}"""
    made = kernel(body, [LANE], [np.zeros(32, "u4")])
    out = np.zeros(32, "u4")
    assert not launch(made, [LANE, out], 32)
    access = next(x for x in made.counts.accesses() if "shared" in x.text)
    assert (access.moved, access.least) == (wavefronts, 1)
    assert (out == 0xFFFFFFFF).all()  # nothing was written there


# -- mistakes
MISTAKES = {
    "out of bounds": ("y[threadIdx.x + 3] = 1;", "out of bounds"),
    "half out of bounds": (
        "if (threadIdx.x < 17) ((float4 *)y)[threadIdx.x] = make_float4(0, 0, 0, 0);",
        "out of bounds",
    ),
    "far out of bounds": ("y[threadIdx.x * 100000] = 1;", "out of bounds"),
    "before the beginning": ("y[(int)threadIdx.x - 1] = 1;", "out of bounds"),
    "race": ("__shared__ float s[64]; s[threadIdx.x] = 1; y[threadIdx.x] = s[63 - threadIdx.x];", "race"),
    "race with a read": (
        "__shared__ float s[64]; s[threadIdx.x] = 0; __syncthreads();"
        " if (threadIdx.x < 32) y[threadIdx.x] = s[threadIdx.x + 32]; else s[threadIdx.x] = 1;",
        "race",
    ),
    "race after a barrier of one warp": (
        "__shared__ float s[64]; if (threadIdx.x >= 32) __syncwarp();"
        " s[threadIdx.x] = 1; y[threadIdx.x] = s[63 - threadIdx.x];",
        "race",
    ),
    "race of bytes": (
        "__shared__ char s[64]; s[threadIdx.x] = 1; y[threadIdx.x] = s[threadIdx.x ^ 32];",
        "race",
    ),
    "race in one word by a barrier too few": (
        "__shared__ float s[64]; for (int i = 0; i < 3; i++) { s[threadIdx.x] = i; __syncthreads();"
        " y[threadIdx.x] = s[63 - threadIdx.x]; }",
        "race",
    ),
    "race with an atomic": (
        "__shared__ int s; if (threadIdx.x == 40) s = 0; atomicAdd(&s, 1); __syncthreads(); y[threadIdx.x] = s;",
        "race",
    ),
    "divergent barrier": (
        "if (threadIdx.x < 40) __syncthreads(); else y[0] = 1;\n__syncthreads();",
        "diverge|deadlock",
    ),
    "divergent collective": (
        "float v = y[threadIdx.x]; if (threadIdx.x & 1) v = __shfl_sync(~0u, v, 3); y[threadIdx.x] = v;",
        "diver|deadlock|returned",
    ),
    "shuffle from a lane outside of the mask": (
        "float v = y[threadIdx.x]; if (threadIdx.x & 1) v = __shfl_sync(0xaaaaaaaa, v, 2); y[threadIdx.x] = v;",
        "does not take part",
    ),
    "shared memory out of bounds": ("FC_DYNAMIC_SHARED(s); ((float *)s)[threadIdx.x * 300] = 1;", "out of bounds"),
    "copy not waited for": (
        "FC_DYNAMIC_SHARED(s); fc_copy_async<4>(s + threadIdx.x * 4, y + threadIdx.x, 4); fc_copy_commit();\n"
        "fc_copy_wait<1>(); __syncthreads(); y[threadIdx.x] = ((float *)s)[threadIdx.x];",
        "cp.async",
    ),
    "copy waited for by its own thread only": (
        "FC_DYNAMIC_SHARED(s); fc_copy_async<4>(s + threadIdx.x * 4, y + threadIdx.x, 4); fc_copy_commit();\n"
        "fc_copy_wait<0>(); y[threadIdx.x] = ((float *)s)[63 - threadIdx.x];",
        "race|cp.async",
    ),
    "copy from outside": (
        "FC_DYNAMIC_SHARED(s); fc_copy_async<4>(s + threadIdx.x * 4, y + threadIdx.x + 3, 4);",
        "out of bounds",
    ),
    "misaligned": ("*(float4 *)(y + 1 + threadIdx.x % 4) = make_float4(0, 0, 0, 0);", "misaligned write"),
    "misaligned in shared memory": (
        "__shared__ __align__(16) float s[80]; *(float2 *)(s + threadIdx.x) = make_float2(0, 0);"
        " y[threadIdx.x] = s[threadIdx.x];",
        "misaligned access to shared",
    ),
    "misaligned copy": (
        "FC_DYNAMIC_SHARED(s); fc_copy_async<16>(s + threadIdx.x * 16, y + threadIdx.x, 16);",
        "misaligned",
    ),
    "trap": ("if (threadIdx.x == 33) __trap(); y[threadIdx.x] = 1;", "trap"),
}


@needs_nvrtc
@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_reported(name: str, seed: int) -> None:
    import emulated_cupy as cp

    body, message = MISTAKES[name]
    y = cp.zeros(66, np.float32)
    made = cp.RawModule(code=wrong(body)).get_function("wrong")
    with cp.pretend(seed=seed), pytest.raises(cp.KernelError, match=message):
        made((1,), (64,), (y,), shared_mem=1024)


def wrong(body: str) -> str:
    return gpu_kernels.device_source() + 'extern "C" __global__ void wrong(float *y) { ' + body + " }"


@needs_nvrtc
@pytest.mark.parametrize(
    "body",
    [
        "__shared__ float s[64]; if (threadIdx.x == 99) s[0] = 1; y[threadIdx.x] = s[threadIdx.x];",
        "volatile float v[8]; v[threadIdx.x % 7] = 1; y[threadIdx.x] = v[7];",
    ],
    ids=["shared", "local"],
)
def test_what_was_not_written_is_nan(body: str) -> None:
    import emulated_cupy as cp

    y = cp.zeros(64, np.float32)
    cp.RawModule(code=wrong(body)).get_function("wrong")((1,), (64,), (y,))
    assert np.isnan(y.get()).all()


def test_barrier_in_memory_that_is_never_complete_is_a_deadlock() -> None:
    body = """
    { .reg .b32 p; .reg .pred done; .shared .align 8 .b8 barrier[8]; mov.u32 p, barrier;
      mbarrier.init.shared::cta.b64 [p], 2; mbarrier.arrive.shared::cta.b64 _, [p];
    again: mbarrier.try_wait.parity.shared::cta.b64 done, [p], 0; @!done bra again; mov.u32 r, 1; }"""
    one = LANE[:1].copy()
    assert "deadlock" in launch(kernel(body, [one], [one.copy()]), [one, one.copy()], 1)


def test_named_barriers_are_of_some_warps() -> None:
    """Two pairs of warps, each with a barrier of its own."""
    body = """
    { .reg .b32 p, w, pair, other; .reg .pred high; .shared .align 4 .b8 cells[512];
      shr.u32 w, %lane, 6; setp.eq.u32 high, w, 1;
      mov.u32 p, cells; mad.lo.u32 pair, %lane, 4, p; st.shared.u32 [pair], a;
      @high bar.sync 1, 64; @!high bar.sync 2, 64;
      xor.b32 other, %lane, 32; mad.lo.u32 pair, other, 4, p; ld.shared.u32 r, [pair]; }"""
    a = np.arange(128, dtype="u4") * 3
    np.testing.assert_array_equal(run(body, [a], "u4", seed=9)[0], a[np.arange(128) ^ 32])


@pytest.mark.parametrize("seed", [0, 4])
def test_barriers_count_predicates(seed: int) -> None:
    body = """
    { .reg .pred p, q, all, any;
      setp.gt.u32 p, a, 40; setp.lt.u32 q, a, 1000;
      bar.red.popc.u32 r, 0, p; bar.red.or.pred any, 0, p; selp.u32 s, 1, 0, any;
      bar.red.and.pred all, 0, !p; selp.u32 t, 1, 0, all; bar.red.and.pred all, 0, q; selp.u32 u, 1, 0, all; }"""
    a = np.arange(100, dtype="u4")  # the last warp is of four threads
    r, s, t, u = run(body, [a], "u4", "u4", "u4", "u4", seed=seed)
    assert (r == 59).all()
    assert (s == 1).all()
    assert (t == 0).all()
    assert (u == 1).all()


@pytest.mark.parametrize("seed", [0, 4, 5])
def test_who_arrives_need_not_wait(seed: int) -> None:
    """One warp gives to another what that waits for."""
    body = """
    { .reg .b32 p, q; .reg .pred gives; .shared .align 4 .b8 cells[128];
      mov.u32 q, cells; and.b32 p, %lane, 31; mad.lo.u32 p, p, 4, q; setp.ge.u32 gives, %lane, 32;
      @gives st.shared.u32 [p], a;
      @gives bar.arrive 3, 64; mov.u32 r, 1;
      @!gives bar.sync 3, 64;
      @!gives ld.shared.u32 r, [p]; }"""
    a = np.arange(64, dtype="u4")
    (found,) = run(body, [a], "u4", seed=seed)
    np.testing.assert_array_equal(found, np.where(a < 32, a + 32, 1))
