"""Files of networks: what is written is read; a full disk, a killed writer and foreign files do no harm."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv import nn
from subprocesses import environment, output_of

pytest.importorskip("safetensors", reason='needs pip install ".[nn]"')


class Weights(nn.Module):
    """Parameters of several kinds, and a buffer."""

    def __init__(self, seed: int = 0, size: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self.weight = nn.Parameter(rng.standard_normal((size, 3)).astype(np.float32))
        self.scale = nn.Parameter(np.asarray(rng.standard_normal()))
        self.mean = nn.Buffer(rng.standard_normal(4))
        self.count = nn.Buffer(rng.integers(0, 9, ()))


def assert_same(one: nn.Module, two: nn.Module) -> None:
    other = two.state_dict()
    for name, array in one.state_dict().items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


def test_networks_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    one, two = Weights(0), Weights(1)
    nn.save(one, path)
    nn.load(two, str(path))
    assert_same(one, two)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_torch_reads_and_writes_the_same_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    one = Weights(0)
    one.weight.astype(pytest.importorskip("ml_dtypes").bfloat16)
    one.weight.data = one.weight.data[::-1]  # not contiguous
    nn.save(one, tmp_path / "a")
    read = load_file(tmp_path / "a")
    assert read["weight"].dtype == torch.bfloat16
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(read[name].double().numpy(), array.astype(float))
    save_file({name: tensor.contiguous() for name, tensor in read.items()}, tmp_path / "b")
    two = Weights(1)
    nn.load(two, tmp_path / "b")
    np.testing.assert_array_equal(two.weight.data, one.weight.data.astype(np.float32))


def test_checkpoints_are_trees(tmp_path: Path) -> None:
    tree = {
        "none": None,
        "list": [1, 2.5, "text", True, {"deep": [np.arange(3), np.float32(0.1)]}],
        "numbers": {0: {"a": np.ones(2)}, 1: {}},
        "large": 2**127 + 1,
        "odd": [float("inf"), -0.0, 1e-310],
        "empty": np.zeros((0, 3)),
    }
    nn.save_checkpoint(tmp_path / "c", model=Weights(0), tree=tree)
    model = Weights(1)
    states = nn.load_checkpoint(tmp_path / "c", model=model, optimizer=None)
    assert_same(model, Weights(0))
    read = states["tree"]
    assert read["none"] is None
    assert read["list"][:4] == [1, 2.5, "text", True]
    np.testing.assert_array_equal(read["list"][4]["deep"][0], np.arange(3))
    assert read["list"][4]["deep"][1] == np.float32(0.1)
    assert set(read["numbers"]) == {0, 1}
    assert read["large"] == tree["large"]
    assert str(read["odd"]) == "[inf, -0.0, 1e-310]"
    assert read["empty"].shape == (0, 3)
    with pytest.raises(TypeError, match=r"tree.a: set cannot be part of a checkpoint"):
        nn.save_checkpoint(tmp_path / "c", tree={"a": {1}})
    assert_same(model, Weights(0))


# -- files that do not fit


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    nn.save(Weights(0), path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = {
        "empty": b"",
        "short": whole[:5],
        "truncated in the header": whole[:60],
        "truncated": whole[:-1],
        "longer": whole + b"x",
        "text": b"this is a text, and no file of tensors at all",
        "zip": b"PK\x03\x04" + bytes(200),
        "random": rng.bytes(1000),
    }
    model = Weights(1)
    for content in damaged.values():
        path.write_bytes(content)
        for read in (lambda: nn.load(model, path), lambda: nn.load_checkpoint(path, model=model)):
            with pytest.raises(ValueError, match="model: this is no whole safetensors file"):
                read()
    assert_same(model, Weights(1))


@pytest.mark.parametrize("seed", range(40))
def test_changed_headers_never_crash(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "model"
    nn.save_checkpoint(path, model=Weights(0))
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for _ in range(3):
        content[rng.integers(0, 400)] = rng.integers(0, 256)
    path.write_bytes(content)
    model = Weights(1)
    with contextlib.suppress(ValueError):
        nn.load_checkpoint(path, model=model)


def test_names_and_shapes_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "model"
    nn.save(Weights(size=8), path)
    model = Weights(1)
    with pytest.raises(ValueError, match=r"model: .*weight has shape \(8, 3\), the network's is \(7, 3\)"):
        nn.load(model, path)
    other = nn.Sequential(Weights())
    with pytest.raises(ValueError, match=r"missing: 0.count, 0.mean, 0.scale, 0.weight; unknown: count"):
        nn.load(other, path)
    assert_same(model, Weights(1))
    nn.load(other, path, strict=False)
    with pytest.raises(ValueError, match="this is no checkpoint of a training, but a file of tensors"):
        nn.load_checkpoint(path, model=model)
    nn.save_checkpoint(path, model=Weights())
    with pytest.raises(ValueError, match=r"this is a checkpoint of a training: use nn.load_checkpoint"):
        nn.load(model, path)
    with pytest.raises(ValueError, match="model: there is no optimizer; there is model"):
        nn.load_checkpoint(path, optimizer=nn.SGD(model.parameters()))
    with pytest.raises(ValueError, match="model, model: the state does not fit Sequential"):
        nn.load_checkpoint(path, model=other)
    with pytest.raises(FileNotFoundError):
        nn.load(model, tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        nn.save(model, tmp_path / "nowhere" / "model")
    with pytest.raises(IsADirectoryError):
        nn.load(model, tmp_path)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r'pip install "fastconv\[nn\]"'):
        nn.save(Weights(), tmp_path / "a")


# -- what happens while a file is written


def test_a_disk_that_fills_leaves_the_earlier_file(tmp_path: Path) -> None:
    """A limit on the size of files is a full disk that only this process sees."""
    path = tmp_path / "model"
    nn.save(Weights(0), path)
    program = f"""
import resource, signal
from fastconv import nn
from subprocesses import environment, output_of
from test_nn_checkpoint import Weights
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for save in (nn.save, lambda model, path: nn.save_checkpoint(path, model=model)):
    try:
        save(Weights(1, size=100_000), {str(path)!r})
    except OSError as error:
        print(type(error).__name__, error.errno, error.filename)
"""
    output = output_of(program)
    assert output.split("\n")[:2] == [f"OSError 27 {path}"] * 2
    model = Weights(2)
    nn.load(model, path)
    assert_same(model, Weights(0))
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def small_disk(folder: Path) -> bool:
    """Put a file system of 256 KiB there; not everybody may."""
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts file systems")
def test_a_small_disk(tmp_path: Path) -> None:
    if not small_disk(tmp_path):
        pytest.skip("no file system can be mounted here")
    try:
        path = tmp_path / "model"
        nn.save(Weights(0), path)
        with pytest.raises(OSError, match="No space left on device"):
            nn.save(Weights(1, size=100_000), path)
        model = Weights(2)
        nn.load(model, path)
        assert_same(model, Weights(0))
        assert [file.name for file in tmp_path.iterdir()] == ["model"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


WRITER = """
import sys
from fastconv import nn
from subprocesses import environment, output_of
from test_nn_checkpoint import Weights
models = [Weights(seed, size=300_000) for seed in range(3)]
print("ready", flush=True)
for number in range(10_000):
    nn.save(models[number % 3], sys.argv[1])
"""


def kill_writers(path: Path, count: int) -> int:
    """Kill so many at a moment of chance; how many of them left a partial file."""
    possible = [Weights(seed, size=300_000) for seed in range(3)]
    unfinished = 0
    for number in range(count):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], env=environment(), stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.05 + 0.0037 * number)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        unfinished += len(list(path.parent.glob("*.partial")))
        model = Weights(9, size=300_000)
        nn.load(model, path)
        assert any((model.weight.data == other.weight.data).all() for other in possible)
        nn.save(possible[0], path)
        assert [file.name for file in path.parent.iterdir()] == [path.name], "what killed writers leave is removed"
    return unfinished


def test_writers_killed_by_signal_9_leave_a_whole_file(tmp_path: Path) -> None:
    nn.save(Weights(0, size=300_000), tmp_path / "model")
    assert kill_writers(tmp_path / "model", 5) > 0, "none was killed while it wrote"


@pytest.mark.full
def test_many_writers_killed_by_signal_9(tmp_path: Path) -> None:
    nn.save(Weights(0, size=300_000), tmp_path / "model")
    assert kill_writers(tmp_path / "model", 60) > 10


def test_threads_that_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    models = [Weights(seed, size=20_000) for seed in range(4)]
    errors: list[BaseException] = []

    def write(model: nn.Module) -> None:
        try:
            for _ in range(20):
                nn.save(model, path)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    read = Weights(9, size=20_000)
    nn.load(read, path)
    assert any((read.weight.data == model.weight.data).all() for model in models)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_errors_of_any_kind_leave_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    nn.save(Weights(0), path)

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                nn.save(Weights(1), path)
        assert [file.name for file in tmp_path.iterdir()] == ["model"]
        model = Weights(2)
        nn.load(model, path)
        assert_same(model, Weights(0))
