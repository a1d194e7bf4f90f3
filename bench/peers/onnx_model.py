"""A case as an ONNX model, for the libraries that run those."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..case import Case


def refusal(case: Case) -> str:
    """Why there is no model of the case; empty where there is one."""
    if case.problem.direction == "backward_weight":
        return "runs models only, no weight gradients"
    if min(amount for pair in case.padding for amount in pair) < 0:
        return "no cropping"
    return ""


def model_bytes(case: Case) -> bytes:
    """Conv and Relu or, for backward_input, ConvTranspose, with constant weights; channels_last: between Transposes."""
    import onnx
    from onnx import helper, numpy_helper

    problem = case.problem
    is_forward = problem.direction == "forward"
    attributes: dict[str, Any] = {
        "kernel_shape": case.kernel,
        "strides": case.stride,
        "dilations": case.dilation,
        "pads": [before for before, _ in case.padding] + [after for _, after in case.padding],
        "group": problem.groups,
    }
    if not is_forward:
        attributes["output_padding"] = _rows_that_no_window_reaches(case)
    first, last = ("x", "y") if is_forward else ("y", "x")
    source, result = (case.x, case.dy) if is_forward else (case.dy, case.x)
    operator = "Conv" if is_forward else "ConvTranspose"
    inner = (f"{first}_first", f"{last}_first") if case.is_channels_last else (first, last)
    constants = {"w": np.ascontiguousarray(case.w)} | ({} if case.bias is None else {"b": case.bias})
    sums = "sums" if case.has_relu else inner[1]
    nodes = [helper.make_node(operator, [inner[0], *constants], [sums], **attributes)]
    if case.has_relu:
        nodes.append(helper.make_node("Relu", [sums], [inner[1]]))
    to_last = [0, *range(2, case.rank + 2), 1]
    if case.is_channels_last:
        to_first = [0, case.rank + 1, *range(1, case.rank + 1)]
        nodes.insert(0, helper.make_node("Transpose", [first], [inner[0]], perm=to_first))
        nodes.append(helper.make_node("Transpose", [inner[1]], [last], perm=to_last))
    kind = helper.np_dtype_to_tensor_dtype(source.dtype)

    def value(name: str, array: np.ndarray) -> Any:
        shape = [array.shape[axis] for axis in to_last] if case.is_channels_last else array.shape
        return helper.make_tensor_value_info(name, kind, shape)

    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "convolution", [value(first, source)], [value(last, result)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def input_array(case: Case) -> np.ndarray:
    """What the model is fed with, in its layout."""
    source = case.x if case.problem.direction == "forward" else case.dy
    return np.moveaxis(source, 1, -1) if case.is_channels_last else source


def result_array(case: Case, result: np.ndarray) -> np.ndarray:
    """What the model returned, with channels second."""
    return np.moveaxis(result, -1, 1) if case.is_channels_last else result


def _rows_that_no_window_reaches(case: Case) -> list[int]:
    sizes = zip(case.x.shape[2:], case.dy.shape[2:], case.kernel, case.stride, case.dilation, case.padding, strict=True)
    return [size - ((o - 1) * s + (k - 1) * d + 1 - sum(pad)) for size, o, k, s, d, pad in sizes]
