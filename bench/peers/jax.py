"""JAX: conv_general_dilated compiled by XLA for the CPU, gradients through vjp."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv._config import available_cores

from ..case import Case
from .peer import Peer, Prepared


class Jax(Peer):
    """NCHW with OIHW weights, or NHWC with HWIO weights."""

    name = "jax"
    modules = ("jax",)
    distributions = ("jax",)

    def refusal(self, case: Case) -> str:
        if case.threads not in (1, available_cores()):
            return "runs on one thread or on all cores"
        return ""

    def prepare(self, case: Case) -> Prepared:
        if "jax" not in sys.modules:
            # Read once, when its client is made.
            os.environ["JAX_PLATFORMS"] = "cpu"
            if case.threads == 1:
                single = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
                os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {single}"
        import jax

        jax.config.update("jax_enable_x64", True)
        last = case.is_channels_last
        letters = "DHW"[3 - case.rank :]
        data_order, weight_order = (f"N{letters}C", f"{letters}IO") if last else (f"NC{letters}", f"OI{letters}")

        def convolve(x: Any, w: Any) -> Any:
            return jax.lax.conv_general_dilated(
                x,
                w,
                case.stride,
                case.padding,
                rhs_dilation=case.dilation,
                dimension_numbers=(data_order, weight_order, data_order),
                feature_group_count=case.problem.groups,
            )

        def placed(array: np.ndarray, is_weight: bool = False) -> Any:
            if last:
                axes = (*range(2, array.ndim), 1, 0) if is_weight else (0, *range(2, array.ndim), 1)
                array = array.transpose(axes)
            return jax.device_put(np.ascontiguousarray(array))

        x, w, dy = placed(case.x), placed(case.w, True), placed(case.dy)
        functions: dict[str, tuple[Callable[[Any, Any], Any], Any, Any]] = {
            "forward": (convolve, x, w),
            "backward_input": (lambda w, dy: jax.vjp(lambda x: convolve(x, w), x)[1](dy)[0], w, dy),
            "backward_weight": (lambda x, dy: jax.vjp(lambda w: convolve(x, w), w)[1](dy)[0], x, dy),
        }
        function, *arguments = functions[case.problem.direction]
        compiled = jax.jit(function).lower(*arguments).compile()

        def array(result: Any) -> np.ndarray:
            plain = np.asarray(result)
            if not last:
                return plain
            if case.problem.direction == "backward_weight":
                return plain.transpose(plain.ndim - 1, plain.ndim - 2, *range(plain.ndim - 2))
            return np.moveaxis(plain, -1, 1)

        return Prepared(lambda: compiled(*arguments).block_until_ready(), array)
