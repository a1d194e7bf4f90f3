from collections.abc import Callable
from typing import Any

from .compiled_call import CompiledCall

def exact(value: object) -> object: ...

class CallCache:
    most: int
    def __init__(self, most: int, array_key: Callable[[Any], object | None] | None = None) -> None: ...
    def __len__(self) -> int: ...
    def forget(self) -> None: ...

class Dispatcher:
    def __init__(
        self,
        repeats: CallCache,
        first: Callable[..., tuple[Any, Callable[[], CompiledCall | None]]],
        packed_type: type | None = None,
    ) -> None: ...
    def call(
        self,
        normalise: Callable[..., Any] | None,
        arguments: tuple[Any, ...],
        how: tuple[Any, ...],
        arrays: tuple[Any, ...],
        out: Any = None,
    ) -> Any: ...
