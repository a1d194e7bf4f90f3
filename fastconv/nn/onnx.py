"""ONNX: models of other libraries as compiled networks; it takes the ``onnx`` extra."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._config import thread_count
from .inference.compiled import Compiled, ready
from .inference.graph import Graph
from .inference.imported import OPERATORS, Importer
from .inference.patterns import fuse_patterns


def load_onnx(
    path: str | os.PathLike[str],
    input_shape: Sequence[int] | None = None,
    *,
    threads: int | None = None,
    effort: str | None = None,
    layout: str | None = None,
) -> Compiled:
    """Read a model of one input and one output, and compile it; see ``nn.compile``.

    Parameters
    ----------
    path : str or path
        Of an ONNX file; weights in files beside it are found.
    input_shape : ints, optional
        Of the input. Needed where the file leaves sizes open.
    threads, effort, layout
        As in ``nn.compile``.

    Returns
    -------
    Compiled

    Raises
    ------
    ImportError
        Without the ``onnx`` package.
    FileNotFoundError
    ValueError
        If the file is truncated or no ONNX model, the model has operators that there is no code for (all are named),
        or something other than one input and one output, or shapes do not fit.

    Examples
    --------
    >>> from fastconv import nn
    >>> network = nn.load_onnx("resnet50.onnx", (1, 3, 224, 224))  # doctest: +SKIP
    >>> network(x).shape  # doctest: +SKIP
    (1, 1000)
    """
    model = _read(path)
    missing = sorted({_name(node) for node in model.graph.node if _name(node) not in OPERATORS})
    if missing:
        raise ValueError(f"path: {path} has operators that there is no code for: {', '.join(missing)}")
    import onnx

    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise ValueError(
            f"path: {path} has {len(inputs)} inputs and {len(model.graph.output)} outputs; allowed: one of each"
        )
    shape, dtype = _described(inputs[0], input_shape)
    floats = (array.dtype for array in constants.values() if array.dtype.kind == "f")
    graph = Graph(shape, dtype, dtype if dtype.kind == "f" else next(floats, np.dtype("float32")))
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=1)
    importer = Importer(graph, constants, inputs[0].name, opset)
    for node in model.graph.node:
        importer.add(node)
    graph.output = importer.value(model.graph.output[0].name)
    fuse_patterns(graph)
    return ready(graph, thread_count(threads), effort, layout)


def _name(node: Any) -> str:
    """Of an operator, with its domain where that is not ONNX's own."""
    return str(node.op_type) if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _read(path: str | os.PathLike[str]) -> Any:
    try:
        import onnx
    except ImportError:
        raise ImportError("load_onnx needs the onnx package: pip install fastconv[onnx]") from None
    try:
        model = onnx.load(os.fspath(path))
    except FileNotFoundError:
        raise
    except Exception as error:  # The errors of onnx and protobuf have no common kind.
        raise ValueError(f"path: {path} is no ONNX model, or is truncated ({error})") from error
    if not model.graph.node or not model.graph.output:
        raise ValueError(f"path: {path} is no ONNX model, or is truncated: it has no operators or no output")
    return model


def _described(value: Any, given: Sequence[int] | None) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of the input, where the file leaves sizes open by what was given."""
    import onnx

    told = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(told.elem_type))
    sizes = [each.dim_value if each.HasField("dim_value") else None for each in told.shape.dim]
    if given is None:
        if None in sizes or not all(sizes):
            raise ValueError(f"input_shape: needed, for the file says no more than {sizes} of input {value.name!r}")
        return tuple(sizes), dtype  # type: ignore[arg-type]
    shape = tuple(int(size) for size in given)
    if told.HasField("shape") and (
        len(shape) != len(sizes) or any(want not in (None, 0, size) for want, size in zip(sizes, shape, strict=True))
    ):
        raise ValueError(f"input_shape: got {shape}; allowed: {sizes}, as the file says of input {value.name!r}")
    return shape, dtype
