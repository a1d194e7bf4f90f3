"""ONNX models as compiled networks: onnx's own data, models built here, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastconv import nn

onnx = pytest.importorskip("onnx")

DATA = Path(onnx.__file__).parent / "backend/test/data"
RNG = np.random.default_rng(0)
CASES = sorted(path for kind in ("pytorch-converted", "pytorch-operator") for path in DATA.glob(f"{kind}/test_*"))


def test_models_of_single_operators() -> None:
    """All that are not refused compute what onnx says; most are not."""
    computed = 0
    for case in CASES:
        try:
            compiled = nn.load_onnx(case / "model.onnx")
        except ValueError as error:
            if "no code for" not in str(error) and "inputs and" not in str(error):
                raise
            continue
        x, y = (
            onnx.numpy_helper.to_array(onnx.load_tensor(str(case / f"test_data_set_0/{name}_0.pb")))
            for name in ("input", "output")
        )
        with np.errstate(invalid="ignore"):
            found = compiled(x)
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5, err_msg=case.name)
        computed += 1
    assert computed >= 80


NAMES = ("densenet121", "squeezenet", "shufflenet", "resnet50", "inception_v1", "inception_v2")


@pytest.mark.parametrize("name", NAMES)
def test_whole_networks(name: str) -> None:
    compiled = nn.load_onnx(DATA / f"light/light_{name}.onnx")
    y = onnx.numpy_helper.to_array(onnx.load_tensor(str(DATA / f"light/light_{name}_output_0.pb")))
    size = int(np.prod(compiled.input_shape))
    x = (np.arange(size) / size).reshape(compiled.input_shape).astype(np.float32)
    np.testing.assert_allclose(compiled(x), y, rtol=1e-3, atol=1e-5)


def model_of(nodes: list[object], shape: list[object], result: list[object], **constants: np.ndarray) -> object:
    make = onnx.helper
    held = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    ends = (make.make_tensor_value_info(name, 1, each) for name, each in (("x", shape), ("y", result)))
    graph = make.make_graph(nodes, "g", *([end] for end in ends), held)
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)


def test_gelu_is_put_together(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Div", ["a", "root"], ["b"]),
        node("Erf", ["b"], ["c"]),
        node("Add", ["c", "one"], ["d"]),
        node("Mul", ["a", "d"], ["e"]),
        node("Mul", ["e", "half"], ["y"]),
    ]
    numbers = {"root": 2**0.5, "one": 1.0, "half": 0.5}
    constants = {name: np.array(number, np.float32) for name, number in numbers.items()}
    weight = RNG.standard_normal((4, 3, 3, 3), np.float32)
    model = model_of(nodes, [2, 3, 8, 8], [2, 4, 8, 8], w=weight, **constants)
    onnx.save(model, tmp_path / "m.onnx")
    compiled = nn.load_onnx(tmp_path / "m.onnx")
    assert compiled.describe().count("\n") == 0
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.GELU()).eval()
    layers[0].weight.data[...] = weight
    x = RNG.standard_normal((2, 3, 8, 8), np.float32)
    np.testing.assert_allclose(compiled(x), layers(x), rtol=1e-4, atol=1e-5)


def test_all_operators_that_are_lacking_are_named(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    nodes = [node("Selu", ["x"], ["a"]), node("Relu", ["a"], ["b"]), node("Det", ["b"], ["y"])]
    onnx.save(model_of(nodes, [1, 2, 2], [1]), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="Det, Selu"):
        nn.load_onnx(tmp_path / "m.onnx")


def test_open_sizes_are_asked_for(tmp_path: Path) -> None:
    onnx.save(model_of([onnx.helper.make_node("Relu", ["x"], ["y"])], ["N", 3], ["N", 3]), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="input_shape"):
        nn.load_onnx(tmp_path / "m.onnx")
    assert nn.load_onnx(tmp_path / "m.onnx", (4, 3)).output_shape == (4, 3)
    with pytest.raises(ValueError, match="input_shape"):
        nn.load_onnx(tmp_path / "m.onnx", (4, 5))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    whole = (DATA / "pytorch-converted/test_Conv2d/model.onnx").read_bytes()
    for content in (b"", b"no model at all", whole[: len(whole) // 2], RNG.bytes(1000)):
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(ValueError, match=r"m\.onnx|operator"):
            nn.load_onnx(tmp_path / "m.onnx")
    with pytest.raises(FileNotFoundError):
        nn.load_onnx(tmp_path / "none.onnx")
