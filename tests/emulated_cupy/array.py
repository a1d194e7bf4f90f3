"""``cupy.ndarray``: an array in device memory, which NumPy is not given; what it computes, NumPy computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from .array_base import ArrayBase, checked_dtype
from .cuda import runtime
from .cuda.memory import BaseMemory
from .cuda.stream import forbid_synchronization, get_current_stream, submit
from .system import require_device


class ndarray(ArrayBase):  # noqa: N801
    """An array on a device."""

    __module__ = "cupy"  # as CuPy's is: that is how it is known
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    T = property(lambda self: self.transpose())
    mT = property(lambda self: self.swapaxes(-1, -2))  # noqa: N815

    @property
    def real(self) -> ndarray:
        return on_device(np.real, (self,), {}) if self.dtype.kind == "c" else self  # type: ignore[no-any-return]

    @real.setter
    def real(self, value: Any) -> None:
        self.real[...] = value

    @property
    def imag(self) -> ndarray:
        return on_device(np.imag, (self,), {})  # type: ignore[no-any-return]

    @imag.setter
    def imag(self, value: Any) -> None:
        self.imag[...] = value

    # -- NumPy's functions and arithmetic on it
    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        import emulated_cupy

        served = getattr(emulated_cupy, function.__name__, None)
        if served is None or any(not issubclass(kind, (ndarray, int, float, complex)) for kind in types):
            return NotImplemented
        return served(*args, **kwargs)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        return on_device(getattr(ufunc, method), args, kwargs)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of unsized object")
        return len(self._host)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> ndarray:
        host_key = unwrap(key)
        if any(np.asarray(part).dtype == bool and np.ndim(part) for part in _parts(host_key)):
            forbid_synchronization(get_current_stream())  # how many there are
        return on_device(lambda host: host[host_key], (self,), {}, _parts(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        host_key, host_value = unwrap(key), unwrap(value)
        arrays = [array for array in (self, value, *_parts(key)) if isinstance(array, ndarray)]
        _check_device(arrays)
        host = self._host

        def write() -> None:
            host[host_key] = host_value

        submit(write, [array.data.mem for array in arrays])

    def __matmul__(self, other: Any) -> Any:
        return matmul(self, other) if isinstance(other, ndarray) else NotImplemented

    def fill(self, value: Any) -> None:
        """Set all elements."""
        self[...] = value

    def astype(
        self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        """As another type; itself if ``copy`` is false and nothing changes."""
        if not copy and self.dtype == np.dtype(dtype) and order in ("K", "A"):
            return self
        checked_dtype(dtype)
        return on_device(lambda host: np.array(host.astype(dtype), order=order), (self,), {})  # type: ignore[call-overload]

    def copy(self, order: str = "C") -> ndarray:
        """A copy on the current device."""
        if self.device.id != runtime.getDevice():
            return ndarray._filled(self._host)
        return on_device(lambda host: host.copy(order), (self,), {})

    @classmethod
    def _filled(cls, host: np.ndarray) -> ndarray:
        made = cls._like(host)
        made._host[...] = host
        return made

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        """The same memory, as another type."""
        return on_device(lambda host: host.view(host.dtype if dtype is None else checked_dtype(dtype)), (self,), {})


def _parts(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def unwrap(value: Any) -> Any:
    """Device arrays as NumPy's; a NumPy array is refused, as CuPy does."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (tuple, list)):
        return type(value)(unwrap(part) for part in value)
    return value


def _device_arrays(values: Any) -> Iterator[ndarray]:
    for value in values:
        if isinstance(value, ndarray):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _device_arrays(value)


def _check_device(arrays: list[ndarray]) -> None:
    current = runtime.getDevice()
    for array in arrays:
        if array.data.device_id != current and array.size:
            raise ValueError(
                "Array device must be same as the current device: "
                f"array device = {array.data.device_id} while current = {current}"
            )


def _lies_in(host: np.ndarray, mem: BaseMemory) -> bool:
    low, high = np.lib.array_utils.byte_bounds(host) if host.size else (0, 0)
    return bool(host.size) and mem.ptr <= low and high <= mem.ptr + mem.size


def on_device(function: Callable[..., Any], args: Any, kwargs: dict[str, Any], also: Any = ()) -> Any:
    """What a NumPy function makes of device arrays, in device memory: views of them, or new arrays.

    While the stream is captured the shapes are known at once and the values when the graph is launched.
    """
    require_device()
    arrays = [*_device_arrays(args), *_device_arrays(kwargs.values()), *_device_arrays(also)]
    host_args = [unwrap(arg) for arg in args]
    host_kwargs = {name: unwrap(value) for name, value in kwargs.items()}

    def compute() -> Any:
        return function(*host_args, **host_kwargs)

    out = kwargs.get("out")
    out = out[0] if isinstance(out, tuple) else out
    if isinstance(out, ndarray):
        _check_device(arrays)
        submit(compute, [array.data.mem for array in arrays])
        return out
    made = compute()
    if not isinstance(made, (tuple, list)):
        return _wrapped(made, arrays, compute)
    return type(made)(_wrapped(part, arrays, partial(lambda at: compute()[at], i)) for i, part in enumerate(made))


def _wrapped(made: Any, arrays: list[ndarray], compute: Callable[[], Any]) -> Any:
    """A host array as a view, where it is one of a device array, or else copied into new device memory."""
    if not isinstance(made, (np.ndarray, np.generic)):
        return made
    host = np.asarray(made)
    is_view = isinstance(made, np.ndarray) and (host.base is not None or any(host is array._host for array in arrays))
    for array in arrays if is_view else []:
        if _lies_in(host, array.data.mem) or not host.size:
            return ndarray._view(host, array)
    _check_device(arrays)
    checked_dtype(host.dtype)
    result = ndarray._like(host)
    values, captured = result._host, get_current_stream().is_capturing()

    def write() -> None:
        values[...] = compute() if captured else host

    submit(write, [result.data.mem, *(array.data.mem for array in arrays)])
    return result


def _method(name: str) -> Any:
    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        return on_device(lambda host, *rest, **named: getattr(host, name)(*rest, **named), (self, *args), kwargs)

    method.__name__ = name
    return method


_METHODS = (
    *("reshape", "transpose", "swapaxes", "squeeze", "ravel", "flatten", "diagonal", "repeat", "take", "conj"),
    *("conjugate", "sum", "prod", "max", "min", "mean", "var", "std", "all", "any", "argmax", "argmin", "clip"),
    *("cumsum", "cumprod", "dot", "round"),
)
for _name in _METHODS:
    setattr(ndarray, _name, _method(_name))


def _operator(ufunc: Callable[..., Any], swapped: bool = False, in_place: bool = False) -> Any:
    def method(self: ndarray, other: Any = None) -> Any:
        if isinstance(other, np.ndarray) or not isinstance(other, (ndarray, int, float, complex, np.generic)):
            return NotImplemented
        operands = (other, self) if swapped else (self, other)
        return ufunc(*operands, **({"out": self} if in_place else {}))

    return method


def _product(a: np.ndarray, b: np.ndarray, **kwargs: Any) -> Any:
    """np.matmul; of 16-bit floats with sums in float32, as cuBLAS does."""
    dtype = np.result_type(a, b)
    if dtype.itemsize == 2 and dtype.kind in "fV":
        product = np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(dtype)
        out = kwargs.get("out")
        if out is None:
            return product
        out[...] = product
        return out
    return np.matmul(a, b, **kwargs)


def matmul(a: ndarray, b: ndarray, /, out: ndarray | None = None) -> ndarray:
    """The product of two matrices, or of stacks of them."""
    return on_device(_product, (a, b), {} if out is None else {"out": out})  # type: ignore[no-any-return]


_OPERATORS = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "truediv": np.true_divide,
    "floordiv": np.floor_divide,
    "mod": np.remainder,
    "pow": np.power,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "lshift": np.left_shift,
    "rshift": np.right_shift,
}
for _name, _ufunc in _OPERATORS.items():
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
    setattr(ndarray, f"__r{_name}__", _operator(_ufunc, swapped=True))
    setattr(ndarray, f"__i{_name}__", _operator(_ufunc, in_place=True))
for _name, _ufunc in {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(ndarray, f"__{_name}__", _method(f"__{_name}__"))
