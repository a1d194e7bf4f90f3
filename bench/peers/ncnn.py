"""ncnn: a net of one layer, which transforms its weights when it is loaded and takes one image per call."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..case import Case
from .peer import Peer, Prepared

MAGIC = 7767517
FLOAT32_TAG = np.zeros(1, np.uint32).tobytes()


class Ncnn(Peer):
    """Everything at its defaults (Winograd on), but for float32 storage and arithmetic."""

    name = "ncnn"
    modules = ("ncnn",)
    distributions = ("ncnn",)

    def refusal(self, case: Case) -> str:
        if case.problem.direction != "forward":
            return "no gradients"
        if case.is_channels_last:
            return "takes channels first only"
        if case.problem.dtype != "float32":
            return "takes float32 only"
        return "no 3-D" if case.rank == 3 else ""

    def prepare(self, case: Case) -> Prepared:
        import ncnn

        net = ncnn.Net()
        for kind in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed"):
            setattr(net.opt, f"use_{kind}", False)
        net.opt.num_threads = case.threads
        with tempfile.TemporaryDirectory() as folder:
            param, model = Path(folder, "net.param"), Path(folder, "net.bin")
            param.write_text(_param(case))
            model.write_bytes(FLOAT32_TAG + np.ascontiguousarray(case.w).tobytes())
            if net.load_param(str(param)) or net.load_model(str(model)):
                raise RuntimeError("ncnn refused the net")
        images = [ncnn.Mat(image if case.rank == 2 else image[:, None]) for image in case.x]

        def run() -> list[Any]:
            results = []
            for image in images:
                extractor = net.create_extractor()
                extractor.input("in", image)
                results.append(extractor.extract("out")[1])
            return results

        def array(results: list[Any]) -> np.ndarray:
            stacked = np.stack([np.array(result) for result in results])
            return stacked.reshape(case.dy.shape)

        return Prepared(run, array)


def _param(case: Case) -> str:
    """The net in ncnn's text format; numbers are those of its layers' parameters."""
    problem = case.problem
    (top, bottom), (left, right) = problem.padding[1:]
    settings = {0: problem.out_channels, 5: 0, 6: case.w.size}
    for number, field in ((1, problem.kernel_size), (2, problem.dilation), (3, problem.stride)):
        settings |= {number: field[2], 10 + number: field[1]}
    settings |= {4: left, 14: top, 15: right, 16: bottom}
    kind = "Convolution"
    if problem.groups > 1:
        kind, settings[7] = "ConvolutionDepthWise", problem.groups
    words = " ".join(f"{number}={value}" for number, value in settings.items())
    return f"{MAGIC}\n2 2\nInput in 0 1 in\n{kind} conv 1 1 in out {words}\n"
