"""OpenCV: filter2D, one plane and one kernel at a time."""

from __future__ import annotations

import numpy as np

from ..case import Case
from .peer import Peer, Prepared

MAX_PLANES = 64


class OpenCV(Peer):
    """Filters of one-channel images; several results of one image are several calls."""

    name = "opencv"
    modules = ("cv2",)
    distributions = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv")

    def refusal(self, case: Case) -> str:
        problem = case.problem
        if problem.direction != "forward":
            return "no gradients"
        if case.rank == 3:
            return "no 3-D"
        if problem.groups != problem.in_channels or problem.batch * problem.out_channels > MAX_PLANES:
            return "one-channel images only"
        if case.is_channels_last and problem.out_channels > 1:
            return "takes planes only"
        if max(case.stride) > 1 or max(case.dilation) > 1:
            return "no stride or dilation"
        if any(pad != (k // 2, k // 2) or k % 2 == 0 for pad, k in zip(case.padding, case.kernel, strict=True)):
            return 'padding "same" only'
        return "" if problem.dtype in ("float32", "float64") else "takes float32 and float64 only"

    def prepare(self, case: Case) -> Prepared:
        import cv2

        cv2.setNumThreads(case.threads)
        problem = case.problem
        planes, kernels = problem.input_size[1:], problem.kernel_size[1:]
        images = [np.ascontiguousarray(plane.reshape(planes)) for plane in case.operands.input.reshape(-1, *planes)]
        filters = [np.ascontiguousarray(kernel.reshape(kernels)) for kernel in case.w]
        per_group = problem.out_channels // problem.groups
        pairs = [
            (images[n * problem.in_channels + k // per_group], filters[k])
            for n in range(problem.batch)
            for k in range(problem.out_channels)
        ]
        border = cv2.BORDER_CONSTANT
        return Prepared(
            lambda: [cv2.filter2D(image, -1, kernel, borderType=border) for image, kernel in pairs],
            lambda results: np.stack(results).reshape(case.dy.shape),
        )
