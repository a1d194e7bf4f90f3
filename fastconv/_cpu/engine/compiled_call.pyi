from collections.abc import Callable
from typing import Any

class CompiledCall:
    def __call__(self, arrays: tuple[Any, ...], out: Any = None, packed: object = None) -> Any: ...

class PythonCall(CompiledCall):
    def __init__(self, compute: Callable[[tuple[Any, ...], Any], Any]) -> None: ...

class GradientsCall(CompiledCall):
    def __init__(self, *parts: CompiledCall | None) -> None: ...
