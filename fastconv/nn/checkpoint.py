"""Files of networks and of trainings: safetensors, written whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .module import Module

KEY = "fastconv"
"""Of the file's metadata: the tree of what is no tensor."""
NUMBERS = itertools.count()
"""So that threads that write one file at a time each have a folder of their own for it."""


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Write the parameters and buffers of a network to a safetensors file, under their names as in ``torch.nn``.

    The file is written beside its place and moved there once it is whole: a reader finds the earlier one or this one,
    whatever happens.

    Parameters
    ----------
    model : Module
    path : path

    Raises
    ------
    OSError
        If it cannot be written, as on a full disk.
    ImportError
        Without the package safetensors: ``pip install "fastconv[nn]"``.
    """
    _write(path, {name: _on_host(array) for name, array in model.state_dict().items()}, {})


def load(model: Module, path: str | os.PathLike[str], strict: bool = True) -> None:
    """Read a network's parameters and buffers from a safetensors file, such as ``nn.save`` or torch's package wrote.

    Parameters
    ----------
    model : Module
    path : path
    strict : bool, default True
        Whether names that are missing here or there are errors.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind, or names or shapes do not fit; nothing is changed then.
    OSError
        If it cannot be read.
    """
    tensors, metadata = _read(path)
    if KEY in metadata:
        raise ValueError(f"{os.fspath(path)}: this is a checkpoint of a training: use nn.load_checkpoint")
    with _named(path):
        model.load_state_dict(tensors, strict)


def save_checkpoint(path: str | os.PathLike[str], **parts: Any) -> None:
    """Write the states of several things to one safetensors file, as ``nn.save`` does.

    Parameters
    ----------
    path : path
    **parts
        What has a ``state_dict``, or is one: nested mappings and lists of arrays, numbers, strings and None.

    Raises
    ------
    OSError
        If it cannot be written, as on a full disk; the earlier file is still there.
    """
    tensors: dict[str, np.ndarray] = {}
    states = {name: part.state_dict() if hasattr(part, "state_dict") else part for name, part in parts.items()}
    tree = {name: _packed(state, name, tensors) for name, state in states.items()}
    _write(path, tensors, {KEY: json.dumps(tree)})


def load_checkpoint(path: str | os.PathLike[str], **parts: Any) -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote.

    Parameters
    ----------
    path : path
    **parts
        What has a ``load_state_dict``: it is given the state of its name. None is left alone.

    Returns
    -------
    dict
        All states by their names.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind, or a part does not fit its state.
    """
    tensors, metadata = _read(path)
    try:
        tree = json.loads(metadata[KEY])
        states = {name: _unpacked(part, tensors) for name, part in tree.items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{os.fspath(path)}: this is no checkpoint of a training, but a file of tensors") from error
    wanted = {name for name, part in parts.items() if part is not None}
    if not wanted <= states.keys():
        missing = ", ".join(sorted(wanted - states.keys()))
        raise ValueError(f"{os.fspath(path)}: there is no {missing}; there is {', '.join(sorted(states))}")
    for name in sorted(wanted):
        with _named(path, name):
            parts[name].load_state_dict(states[name])
    return states


# Trees.


def _packed(value: Any, path: str, tensors: dict[str, np.ndarray]) -> Any:
    """A state as JSON takes it: arrays go to the tensors, under their paths."""
    if hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, np.generic):
        tensors[path] = _on_host(value)
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {"mapping": [[key, _packed(entry, f"{path}.{key}", tensors)] for key, entry in value.items()]}
    if isinstance(value, list | tuple):
        return [_packed(entry, f"{path}.{number}", tensors) for number, entry in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path}: {type(value).__name__} cannot be part of a checkpoint")


def _unpacked(value: Any, tensors: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpacked(entry, tensors) for entry in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _unpacked(entry, tensors) for key, entry in value["mapping"]}
    return value


def _on_host(array: Any) -> np.ndarray:
    """The array as a contiguous one of NumPy's."""
    host = array if isinstance(array, np.ndarray) else array.get()
    return np.require(host, requirements="C")


# Files.


def _write(path: str | os.PathLike[str], tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    safetensors = _package()
    target = Path(path)
    # A folder: safetensors itself may write beside the file that it is given, under a name of its own.
    partial = target.with_name(f".{target.name}.{os.getpid()}-{next(NUMBERS)}.partial")
    _remove_leftovers(target)
    partial.mkdir()
    try:
        written = partial / "tensors"
        try:
            safetensors.numpy.save_file(tensors, written, metadata or None)
        except safetensors.SafetensorError as error:
            raise _of_the_system(error, target) from error
        # safetensors lets nobody else read it; whoever creates a file expects what the umask allows.
        (partial / "other").touch()
        shutil.copymode(partial / "other", written)
        with open(written, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(written, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _sync_folder(target.parent)


def _of_the_system(error: Exception, target: Path) -> Exception:
    """safetensors' error as the OSError that it stands for."""
    found = re.search(r"os error (\d+)", str(error))
    if found:
        number = int(found[1])
        return OSError(number, os.strerror(number), os.fspath(target))
    return OSError(f"{target}: {error}")


def _remove_leftovers(target: Path) -> None:
    """Remove what a process that was killed while it wrote has left."""
    pattern = re.compile(re.escape(f".{target.name}.") + r"(\d+)-\d+\.partial")
    with contextlib.suppress(OSError):
        for name in os.listdir(target.parent):
            found = pattern.fullmatch(name)
            if found and not _is_alive(int(found[1])):
                shutil.rmtree(target.parent / name, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Have the file's new name last; not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    safetensors = _package()
    with open(path, "rb"):
        """An OSError of Python's own if that is not possible."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{os.fspath(path)}: this is no whole safetensors file: {error}") from error


@contextlib.contextmanager
def _named(path: str | os.PathLike[str], part: str = "") -> Iterator[None]:
    """Say in an error which file, and which part of it, does not fit."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}{f', {part}' if part else ''}: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{os.fspath(path)}, {part}: the state does not fit: {error!r}") from error


def _package() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError('files of networks want the package safetensors: pip install "fastconv[nn]"') from error
    return safetensors
