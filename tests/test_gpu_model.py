"""The model of a GPU kernel's time: machine code as it is read, a scheduler's cycles, the error on published times."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent))  # last: an installed fastconv goes before the sources

from bench.__main__ import main
from bench.gpu_model import sass
from bench.gpu_model.chips import CHIPS
from bench.gpu_model.launches import Code, Launch, predict, resident_blocks, steps_in_runs, steps_of_main_loop
from bench.gpu_model.sass import NO_BOARD, Instruction
from bench.gpu_model.scheduler import Scheduler
from emulated_cupy import nvrtc

H200 = CHIPS["H200"]
needs_wheels = pytest.mark.skipif(
    nvrtc.library() is None or sass.disassembler() is None,
    reason=nvrtc.MISSING if nvrtc.library() is None else sass.MISSING,
)


def instruction(op: str, at: int = 0, stall: int = 1, write: int = NO_BOARD, wait: int = 0, target: int | None = None,
                predicated: bool = False) -> Instruction:  # fmt: skip
    return Instruction(at, op, op, stall, write, NO_BOARD, wait, target, predicated)


def cycles(path: list[Instruction], warps: int, blocks: int = 1, wavefronts: dict[str, float] | None = None) -> float:
    return Scheduler(H200, path, warps, blocks, wavefronts or {}).run()


LISTING = """
        .text.k:
.L_x_1:
        /*0000*/                   LDG.E R2, desc[UR4][R2.64] ;                  /* 0x0000000402027981 */
                                                                                  /* 0x000ea4000c1e1900 */
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
    assert sass.loops(code) == [(0, 2)]


def test_loops_are_repeated_and_inner_ones_within() -> None:
    ops = [instruction("MOV", 0), instruction("FADD", 16), instruction("FFMA", 32),
           instruction("BRA", 48, target=32, predicated=True), instruction("BRA", 64, target=16, predicated=True),
           instruction("EXIT", 80)]  # fmt: skip
    found = sass.loops(ops)
    assert found == [(2, 3), (1, 4)]
    assert sass.outermost(found) == [(1, 4)]
    path = sass.issued(ops, {(2, 3): 5, (1, 4): 2}, 0, 5)
    assert [x.op for x in path].count("FFMA") == 10
    assert [x.op for x in path].count("FADD") == 2


def test_loops_of_many_trips_are_extrapolated() -> None:
    """Runs of steps: as many cycles as all of them issued one after the other."""
    ops = [instruction("MOV", 0), instruction("FADD", 16), *[instruction("FFMA", 32 + 16 * i) for i in range(20)],
           instruction("BRA", 352, target=32, predicated=True), instruction("BRA", 368, target=16, predicated=True),
           instruction("EXIT", 384)]  # fmt: skip
    code = Code(ops, 32, 0, 0)
    launch = Launch(128, 132, 0, 1e6, 1e6, 1e6, steps_in_runs(36, 3), {})
    resident = resident_blocks(H200, code, launch)
    whole = Launch(128, 132 * resident, 0, 1e6, 1e6, 1e6, steps_in_runs(36, 3), {})
    path = sass.issued(ops, {(2, 22): 12, (1, 23): 3}, 0, len(ops) - 1)
    assert predict(H200, code, whole).compute_seconds * H200.ghz * 1e9 == pytest.approx(
        cycles(path, resident, resident), rel=0.02
    )


def test_a_scheduler_issues_once_a_cycle() -> None:
    """Stall counts leave slots that other warps take."""
    chain = [instruction("FFMA", stall=4)] * 100
    assert cycles(chain, 1) == pytest.approx(400, abs=4)
    assert cycles(chain, 4) == pytest.approx(400, abs=8)
    assert cycles(chain, 8) == pytest.approx(800, abs=8)


def test_pipes_are_kept() -> None:
    assert cycles([instruction("HMMA.16816.F32.BF16")] * 100, 8) == pytest.approx(800 * H200.mma_cycles, rel=0.02)
    conflicts = {"LDS.1": 4.0}
    assert cycles([instruction("LDS")] * 100, 4, wavefronts=conflicts) == pytest.approx(400 * 16, rel=0.02)
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


def test_occupancy_and_waves() -> None:
    code = Code([instruction("FFMA", 16 * i) for i in range(64)], 128, 0, 16 << 10)
    launch = Launch(256, 132 * 2, 0, 1e6, 1e6, 1e6, steps_of_main_loop(1), {})
    assert resident_blocks(H200, code, launch) == 2  # 65,536 registers
    full = predict(H200, code, launch)
    assert full.waves == 1
    more = predict(H200, code, Launch(256, 132 * 2 + 1, 0, 1e6, 1e6, 1e6, steps_of_main_loop(1), {}))
    assert more.compute_seconds == pytest.approx(1.5 * full.compute_seconds)  # the one block has all slots
    bytes_alone = Launch(256, 264, 0, 1e6, 4.3e9, 1e6, steps_of_main_loop(1), {})
    assert predict(H200, code, bytes_alone).memory_seconds == pytest.approx(1e-3)
    assert predict(H200, code, bytes_alone).limit() == "memory"


@needs_wheels
def test_published_times() -> None:
    """In their order, and each within 20 %."""
    from bench.gpu_model.published import compare

    found = compare()
    assert [x.predicted for x in found] == sorted(x.predicted for x in found)
    for one in found:
        assert one.predicted == pytest.approx(one.measured, rel=0.2), one.variant
        assert one.prediction.local_bytes == 0


@needs_wheels
def test_the_command_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu-model", "--chip", "H200", "--no-published", "--no-layers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "predicted, not measured"
    kernels = {line.split()[0].rstrip(",") for line in lines[2:]}
    assert kernels == {
        *("depthwise", "MobileNetV2", "ConvNeXt-T", "short"),
        *("patch_mma", "wgmma_conv"),
    }
    assert all("H200" in line for line in lines[2:])


@needs_wheels
def test_a_dense_layer() -> None:
    """Strict float32: at least 70 % of what FMA units do, packing included."""
    from bench.gpu_model.layers import layer

    found = layer(H200, "forward 32x128x28x28 128x128x3x3 p1")
    assert found.flops_per_second() > 0.7 * H200.float32_peak()
    assert [(made.local_bytes, made.math_share > 0.85) for made in found.products] == [(0, True)]


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sass, "disassembler", lambda: None)
    assert main(["gpu-model"]) == 2
    assert "pip install nvidia-cuda-nv" in capsys.readouterr().err
