"""What others have measured, beside what is predicted: the model's error, and how far cuDNN is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fastconv import ConvProblem

from .chips import CHIPS
from .examples import LADDER, ladder
from .plans import planned


@dataclass(frozen=True)
class Compared:
    """A published figure and the predicted one; ``unit`` says what of."""

    what: str
    chip: str
    measured: float
    predicted: float
    unit: str

    @property
    def ratio(self) -> float:
        """Predicted by measured."""
        return self.predicted / self.measured


def errors() -> Iterator[Compared]:
    """The same kernels, or peaks that libraries reach a share of."""
    for variant, measured in LADDER.items():
        yield Compared(f"float32 matrix product, variant {variant}", "A6000", measured, ladder(variant), "TFLOP/s")
    h200, h100 = CHIPS["H200"], CHIPS["H100"]
    peaks = (
        ("peak of wgmma, bfloat16; cuBLAS, random data", h200, 783e12, h200.tensor_peak("HGMMA")),
        ("peak of wgmma, TF32; cuBLAS", h100, 415e12, h100.tensor_peak("HGMMA") / 2),
        ("peak of the FMA units, float32; cuBLAS", h100, 48.5e12, h100.float32_peak()),
    )
    for what, chip, measured, peak in peaks:
        yield Compared(what, chip.name, measured / 1e12, peak / 1e12, "TFLOP/s")


@dataclass(frozen=True)
class Peer:
    """A layer that another library was timed on, and the source."""

    text: str
    chip: str
    seconds: float
    who: str


_DEPTHWISE_BYTES = 2 * 4 * 8 * 256 * 56 * 56
PEERS = (
    Peer("forward 32x64x56x56 64x64x3x3 p1 bfloat16", "H100PCIe", 71.95e-6, "cuDNN, NCHW, torch 2.11"),
    Peer("forward 3072x128x202 384x128x3 bfloat16", "H100", 1.11e-3, "cuDNN, NCHW (device not stated)"),
    # 323 of 760 GB/s; a layer of about as many bytes.
    Peer("forward 8x256x56x56 256x1x3x3 p1 g256 float32", "RTX3080", _DEPTHWISE_BYTES / 323e9, "cuDNN, NCHW"),
    Peer("forward 16x8192x8192 8192x1x5 p2 g8192 bfloat16", "H100", 16.42e-3, "torch, k = 5"),
)
"""cuDNN's and torch's times whose layers are known."""


def peers() -> Iterator[Compared]:
    """Times of others by ours: above 1 we are predicted to be faster."""
    for peer in PEERS:
        made = planned(CHIPS[peer.chip], ConvProblem.parse(peer.text))
        yield Compared(f"{peer.text}; {peer.who}; {made.algorithm}", peer.chip, made.seconds * 1e6, peer.seconds * 1e6,
                       "us")  # fmt: skip
