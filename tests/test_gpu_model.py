"""The model of a GPU kernel's time: machine code as it is read, a scheduler's cycles, the error on published times."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from bench.__main__ import main
from bench.gpu_model import regions, sass
from bench.gpu_model.chips import CHIPS
from bench.gpu_model.launches import Kernel, predict, resident_blocks
from bench.gpu_model.library import predict_product, predict_step
from bench.gpu_model.plans import planned
from bench.gpu_model.ranking import ranked
from bench.gpu_model.sass import NO_BOARD, Instruction
from bench.gpu_model.scheduler import Scheduler
from bench.gpu_model.summary import rows
from bench.gpu_model.trace import Code, TraceError, compiled, sampled_blocks, traced
from emulated_cupy import nvrtc
from fastconv import ConvProblem
from fastconv._gpu.algorithm import Operation
from fastconv._gpu.algorithms.implicit_gemm import ALGORITHMS
from fastconv._gpu.launch import Launch, Workspace

H200 = CHIPS["H200"]
needs_wheels = pytest.mark.skipif(
    nvrtc.library() is None or sass.disassembler() is None,
    reason=nvrtc.MISSING if nvrtc.library() is None else sass.MISSING,
)


def instruction(op: str, at: int = 0, stall: int = 1, write: int = NO_BOARD, wait: int = 0, target: int | None = None,
                predicated: bool = False, line: int = 0) -> Instruction:  # fmt: skip
    return Instruction(at, op, op, stall, write, NO_BOARD, wait, target, predicated, line)


def cycles(path: list[Instruction], warps: int, blocks: int = 1, wavefronts: float = 1.0) -> float:
    scheduler = Scheduler(H200, path, dict.fromkeys(range(len(path)), wavefronts))
    return scheduler.cycles(range(len(path)), warps, blocks)


LISTING = """
        .text.k:
.L_x_1:
	//## File ".nv_debug_ptx_txt", line 30
        /*0000*/                   LDG.E R2, desc[UR4][R2.64] ;                  /* 0x0000000402027981 */
                                                                                  /* 0x000ea4000c1e1900 */
	//## File ".nv_debug_ptx_txt", line 31
        /*0010*/              @!P0 FFMA R5, R2, R3, R4 ;                         /* 0x0000000302057223 */
                                                                                  /* 0x004fe20000000004 */
        /*0020*/               @P1 BRA `(.L_x_1) ;                               /* 0xfffffffc00f80947 */
                                                                                  /* 0x000fea000383ffff */
        /*0030*/                   EXIT ;                                        /* 0x000000000000794d */
                                                                                  /* 0x000fea0003800000 */
"""


def test_control_bits_are_read() -> None:
    code = sass._parse(LISTING.splitlines())
    assert [x.op for x in code] == ["LDG.E", "FFMA", "BRA", "EXIT"]
    load, product, jump, _ = code
    assert (load.stall, load.write, load.wait) == (2, 2, 0)
    assert (product.stall, product.write, product.wait, product.predicated) == (1, 7, 1 << 2, True)
    assert jump.target == 0
    assert [x.line for x in code] == [30, 31, 31, 31]
    assert sass.loops(code) == [(0, 2)]


def looping(inner: int = 20) -> list[Instruction]:
    """MOV, then a loop of FADD and of an inner loop of products, each at its own line of PTX."""
    products = [instruction("FFMA", 32 + 16 * i, line=3) for i in range(inner)]
    end = 32 + 16 * inner
    return [
        instruction("MOV", 0, line=1), instruction("FADD", 16, line=2), *products,
        instruction("BRA", end, target=32, predicated=True, line=4),
        instruction("BRA", end + 16, target=16, predicated=True, line=5), instruction("EXIT", end + 32, line=6),
    ]  # fmt: skip


def test_executions_of_lines_are_shared_by_their_copies() -> None:
    """The inner loop was unrolled by 20: of 360 products, 12 trips in each of 3."""
    code = looping()
    often = regions.frequencies(code, {1: 1, 2: 3, 3: 720, 4: 36, 5: 3, 6: 1})
    assert often == [1, 3, *[36] * 21, 3, 1]
    whole = regions.regions(code, often)
    outer = whole.items[1]
    assert isinstance(outer, regions.Region)
    assert outer.times == 3
    assert isinstance(outer.items[1], regions.Region)
    assert outer.items[1].times == 12
    path = regions.flat(whole, 100)
    assert len(path) == 1 + 3 * (2 + 12 * 21) + 1
    assert [code[i].op for i in path].count("FFMA") == 720


def test_what_is_seldom_executed_counts_in_part() -> None:
    code = [instruction("MOV", 0, line=1), instruction("FADD", 16, line=2),
            instruction("BRA", 32, target=64, predicated=True, line=2), instruction("MUFU", 48, line=3),
            instruction("BRA", 64, target=16, predicated=True, line=4), instruction("EXIT", 80, line=5)]  # fmt: skip
    whole = regions.regions(code, regions.frequencies(code, {1: 1, 2: 8, 3: 2, 4: 8, 5: 1}))
    assert regions.levels(whole) == [0.25]
    assert [len(regions.flat(regions.without(whole, level), 100)) for level in (0.25, 1.0)] == [2 + 8 * 4, 2 + 8 * 3]
    kernel = Kernel(H200, code, {1: 1, 2: 8, 3: 2, 4: 8, 5: 1}, {}, {})
    never, always = (Kernel(H200, code, {1: 1, 2: 8, 3: n, 4: 8, 5: 1}, {}, {}).cycles(1, 128) for n in (0, 8))
    assert never < kernel.cycles(1, 128) < always


def test_loops_of_many_trips_are_extrapolated() -> None:
    """As many cycles as all of them issued one after the other."""
    code, executed = looping(), {1: 1.0, 2: 3.0, 3: 720.0, 4: 36.0, 5: 3.0, 6: 1.0}
    kernel = Kernel(H200, code, executed, {}, {})
    path = regions.flat(regions.regions(code, regions.frequencies(code, executed)), 100)
    for blocks in (2, 8):
        all_of_them = Scheduler(H200, code, {}).cycles(path, blocks, blocks)
        assert kernel.cycles(blocks, 128) == pytest.approx(all_of_them, rel=0.02)


def test_a_scheduler_issues_once_a_cycle() -> None:
    """Stall counts leave slots that other warps take."""
    chain = [instruction("FFMA", stall=4)] * 100
    assert cycles(chain, 1) == pytest.approx(400, abs=4)
    assert cycles(chain, 4) == pytest.approx(400, abs=8)
    assert cycles(chain, 8) == pytest.approx(800, abs=8)


def test_pipes_are_kept() -> None:
    assert cycles([instruction("HMMA.16816.F32.BF16")] * 100, 8) == pytest.approx(800 * H200.mma_cycles, rel=0.02)
    assert cycles([instruction("LDS")] * 100, 4, wavefronts=4.0) == pytest.approx(400 * 16, rel=0.02)
    assert cycles([instruction("LDS")] * 100, 4) == pytest.approx(400 * 4, rel=0.05)


def test_scoreboards_are_waited_for() -> None:
    """One warp waits for memory, sixteen hide it."""
    body = [instruction("LDG.E", write=0), *[instruction("FFMA", wait=1)], *[instruction("FFMA")] * 60]
    alone, many = cycles(body * 4, 1), cycles(body * 4, 16)
    assert alone > 4 * 450
    assert many < 16 * 4 * 62 * 1.3


def test_barriers_hold_a_blocks_warps_together() -> None:
    path = [instruction("MUFU"), instruction("BAR.SYNC"), instruction("FFMA")]
    assert cycles(path, 2) > cycles(path, 2, blocks=2)


def test_occupancy() -> None:
    code = Code([instruction("FFMA", 16 * i) for i in range(64)], 128, 0, 16 << 10)
    assert resident_blocks(H200, code, 256, 0) == 2  # 65,536 registers
    assert resident_blocks(H200, code, 256, 100 << 10) == 1
    assert resident_blocks(H200, code, 64, 0) == 8


def test_blocks_that_stand_for_all() -> None:
    assert sampled_blocks(3) == [0, 1, 2]
    found = sampled_blocks(100_000)
    assert len(found) == 4
    assert max(b - a for a, b in zip([0, *found], [*found, 100_000], strict=True)) < 50_000


COPY = """
extern "C" __global__ void copy(const float *__restrict__ x, float *__restrict__ y, float *scratch, int n, int step) {
    const int t = blockIdx.x * 128 + threadIdx.x;
    float sum = 0;
    for (int i = 0; i < n; i++) sum = sum * 2.0f + x[(size_t)t * step + (size_t)i * gridDim.x * 128 * step];
    y[t] = sum;
    if (threadIdx.x == 0) scratch[blockIdx.x] = sum;
}
"""
BLOCKS, TERMS = 132 * 64, 50


def copy(step: int = 1) -> Launch:
    return Launch("copy", COPY, (BLOCKS,), (128,), ("x", "y", Workspace(256), np.int32(TERMS), np.int32(step)))


def sizes(step: int = 1) -> dict[str, int]:
    results = BLOCKS * 128 * 4
    return {"x": results * TERMS * step, "y": results, "workspace": 256 + 4 * BLOCKS}


@needs_wheels
def test_a_launch_is_counted_on_arrays_of_its_size() -> None:
    """Two gigabytes, of which four blocks touch a few pages."""
    counted = traced(copy(8), "sm_90", sizes(8))
    assert counted.touched["x"] == 128 * TERMS  # a sector for each element
    assert counted.touched["y"] == 128 * 4 / 32
    assert counted.loaded == counted.loaded_once == 128 * TERMS
    assert counted.stored == 128 * 4 / 32 + 1
    code = compiled(COPY, "copy", "sm_90").instructions
    often = regions.frequencies(code, counted.executed)
    assert sum(n for x, n in zip(code, often, strict=True) if x.name == "LDG") == pytest.approx(TERMS)
    with pytest.raises(TraceError, match="out of bounds"):
        traced(copy(8), "sm_90", sizes(4))


@needs_wheels
def test_bytes_limit_a_copy() -> None:
    made = predict(H200, copy(), sizes())
    assert made.memory_bytes == pytest.approx((TERMS + 1) * 4 * 128 * BLOCKS + 32 * BLOCKS / 8, rel=0.01)
    assert made.limit() == "memory"
    assert made.seconds == pytest.approx(made.memory_bytes / H200.copy_bytes_per_second + H200.launch_seconds)
    assert predict(H200, copy(), sizes(), frozenset("x")).memory_bytes < made.memory_bytes / 10
    assert predict(H200, copy(8), sizes(8)).memory_seconds > 7 * made.memory_seconds


LAYER = "forward 32x128x28x28 128x128x3x3 p1 float32"


@needs_wheels
def test_products_are_all_counted() -> None:
    """Of a layer whose tiles are full: as many as the definition has."""
    problem, algorithm = ConvProblem.parse(LAYER), ALGORITHMS[0]
    operation = Operation.contiguous(problem)
    launches = algorithm.launches(operation, {"tile": "64x128x16", "splits": 1})
    assert all(isinstance(launch, Launch) for launch in launches)
    product = launches[1]
    of = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    bytes_of = {role: 4 * math.prod(shape) for role, shape in of.items()}
    bytes_of["workspace"] = max(launch.workspace_bytes for launch in launches)
    counted = traced(product, "sm_90", bytes_of)
    code = compiled(product.source, product.kernel, "sm_90").instructions
    often = regions.frequencies(code, counted.executed)
    products = sum(n for x, n in zip(code, often, strict=True) if x.name == "FFMA")
    threads = math.prod(product.grid) * math.prod(product.block)
    assert products * threads == pytest.approx(problem.multiply_adds, rel=0.02)


@needs_wheels
def test_a_dense_layer() -> None:
    """Strict float32: at least 70 % of what FMA units do, packing included."""
    found = planned(H200, ConvProblem.parse(LAYER), "implicit_gemm")
    assert found.flops / found.seconds > 0.7 * H200.float32_peak()
    assert found.share == pytest.approx(found.flops / found.seconds / H200.float32_peak())
    (product,) = (step for step in found.steps if step.kernel == "correlate")
    assert (product.local_bytes, product.math_share > 0.85) == (0, True)


@needs_wheels
def test_a_depthwise_layer() -> None:
    """Near the copy bandwidth, by few more sectors than there have to be; in its sets."""
    found = planned(H200, ConvProblem.parse("forward 32x256x56x56 256x1x3x3 p1 g256 float32"))
    assert found.is_memory_bound
    assert found.memory_floor / found.seconds > 0.85
    assert found.sectors < 1.1
    by_name = {row.name: row for row in rows([("layer", found)])}
    assert by_name.keys() == {"depthwise", "memory-bound"}
    assert by_name["memory-bound"].share == pytest.approx(found.share)
    assert "met" in by_name["memory-bound"].compared


def test_products_of_a_library() -> None:
    """A share of the peak where they are large, bytes where they are thin."""
    matrix = SimpleNamespace(dtype=np.dtype(np.float32), batch=0)

    def product(rows: int, columns: int, depth: int) -> SimpleNamespace:
        return SimpleNamespace(rows=rows, columns=columns, depth=depth, batch=1, a=matrix, b=matrix, c=matrix)

    large = predict_product(H200, product(8192, 8192, 8192))
    assert 2 * 8192**3 / large.seconds == pytest.approx(48e12, rel=0.1)
    assert predict_product(H200, product(8192, 2**20, 8)).limit() == "memory"
    assert predict_step(H200, product(8, 8, 8)) == predict_product(H200, product(8, 8, 8))


def test_transforms_of_a_library() -> None:
    """Each pass reads and writes all numbers once; two axes are two passes."""

    def seconds(*lengths: int) -> float:
        step = SimpleNamespace(lengths=lengths, batch=1000, dtype=np.dtype(np.float32))
        return predict_step(H200, step).seconds - H200.launch_seconds

    assert seconds(1024) * H200.copy_bytes_per_second == pytest.approx(2 * 1000 * 1026 * 4)
    assert seconds(64, 64) == pytest.approx(2 * seconds(4096) * 66 * 64 / 4098)
    assert seconds(8192) == pytest.approx(4 * seconds(4096), rel=1e-3)


@needs_wheels
def test_candidates_are_ranked() -> None:
    found = ranked(H200, ConvProblem.parse("forward 8x64x14x14 64x64x1x1 float32"))
    assert len(found) > 1
    assert [one.cost_seconds for one in found] == sorted(one.cost_seconds for one in found)


@needs_wheels
def test_published_times() -> None:
    """In their order, and each within 20 %."""
    from bench.gpu_model.examples import LADDER, ladder

    found = {variant: ladder(variant) for variant in LADDER}
    assert list(found.values()) == sorted(found.values())
    for variant, measured in LADDER.items():
        assert found[variant] == pytest.approx(measured, rel=0.2), variant


@needs_wheels
def test_the_command_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["forward 32x256x56x56 256x1x3x3 p1 g256", "--pass", "forward", "--no-published"]
    assert main(["gpu-model", *words, "--write-table"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "predicted, not measured"
    header, rule, row = (line.strip("|").split("|") for line in lines[3:6])
    assert len(header) == len(rule) == len(row)
    assert dict(zip(map(str.strip, header), map(str.strip, row), strict=True))["algorithm"] == "depthwise_nchw"
    assert main(["gpu-model", *words, "--ranking"]) == 0
    assert "for 1 of 1 layers" in capsys.readouterr().out


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sass, "disassembler", lambda: None)
    assert main(["gpu-model"]) == 2
    assert "pip install nvidia-cuda-nv" in capsys.readouterr().err
