"""ONNX's reference evaluator with its own operators, and with ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.compat import onnx as of_onnx

from .case import Case


def cases() -> list[Case]:
    """Models of one operator, float32."""
    return [
        _case("Conv 3x3, 64 channels, 56x56", "Conv", (1, 64, 56, 56), (64, 64, 3, 3), pads=[1] * 4),
        _case("Conv 3x3 depthwise, 96 channels", "Conv", (1, 96, 28, 28), (96, 1, 3, 3), group=96, pads=[1] * 4),
        _case(
            "ConvTranspose 3x3 stride 2, 32 channels", "ConvTranspose", (1, 32, 28, 28), (32, 32, 3, 3), strides=[2, 2]
        ),
        _case("MaxPool 2, 16 channels, 28x28", "MaxPool", (1, 16, 28, 28), None, kernel_shape=[2, 2], strides=[2, 2]),
        _case("AveragePool 3, 16 channels, 28x28", "AveragePool", (1, 16, 28, 28), None, kernel_shape=[3, 3]),
    ]


def _case(name: str, operator: str, shape: tuple[int, ...], kernel: tuple[int, ...] | None, **attributes: Any) -> Case:
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(0)
    given = {"x": rng.standard_normal(shape, np.float32)}
    if kernel is not None:
        given["w"] = rng.standard_normal(kernel, np.float32)
    node = helper.make_node(operator, list(given), ["y"], **attributes)
    inputs = [helper.make_tensor_value_info(key, TensorProto.FLOAT, value.shape) for key, value in given.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph([node], "one", inputs, [output]))
    ours: Any = ReferenceEvaluator(model, new_ops=of_onnx.OPERATORS)
    own: Any = ReferenceEvaluator(model)
    return Case(name, lambda: ours.run(None, given)[0], lambda: own.run(None, given)[0])
