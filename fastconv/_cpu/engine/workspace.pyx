"""Scratch memory: aligned, of one call at a time, kept by its thread for the next one."""

import contextlib
import threading

import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t

ALIGNMENT = 64
KEPT_WORKSPACE_BYTES = 2**26
"""A thread keeps its last workspace for the next call up to this size."""

IS_FENCED = not WORKSPACE_IS_KEPT
"""Whether every workspace is an allocation of its own, for AddressSanitizer."""

cdef int64_t _kept_bytes = KEPT_WORKSPACE_BYTES
cdef object _local = threading.local()
cdef object _source = None


cdef uintptr_t address(object array) except *:
    """Of the array's first element, as ``array.ctypes.data`` is, which takes microseconds."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDES)
    PyBuffer_Release(&view)
    return <uintptr_t>view.buf


cpdef object aligned(int64_t size_bytes):
    """New uint8 memory."""
    cdef int64_t all_bytes = size_bytes + <int64_t>ALIGNMENT + WORKSPACE_FENCE_BYTES
    raw = np.empty(all_bytes, np.uint8)
    cdef uintptr_t begin = address(raw)
    cdef int64_t offset = -begin % <uintptr_t>ALIGNMENT
    workspace_fence(<void *>begin, offset)
    workspace_fence(<void *>(begin + offset + size_bytes), all_bytes - offset - size_bytes)
    return raw[offset : offset + size_bytes]


cpdef object take(int64_t size_bytes):
    """uint8 memory of at least ``size_bytes``.

    It is nobody else's until it is given back: a signal handler or a finaliser may call the library in the middle of
    a call.
    """
    if _source is not None:
        return _source[0](size_bytes)
    memory = (<dict>_local.__dict__).pop("workspace", None)
    if memory is None or <int64_t>len(memory) < size_bytes:
        memory = aligned(size_bytes)
    return memory


cpdef object give_back(object memory):
    """Keep ``memory`` for the next call of this thread, unless it is large."""
    if _source is not None:
        _source[1](memory)
    elif WORKSPACE_IS_KEPT and <int64_t>len(memory) <= _kept_bytes:
        (<dict>_local.__dict__)["workspace"] = memory


cdef bint is_on_stack(int64_t size_bytes) noexcept:
    """Whether so little is taken from the stack, or nothing at all."""
    return size_bytes == 0 or (size_bytes <= WORKSPACE_ON_STACK_BYTES and _source is None)


def drop():
    """Let go of what this thread keeps."""
    (<dict>_local.__dict__).pop("workspace", None)


@contextlib.contextmanager
def watched(take_memory, give_memory_back):
    """Have these two functions provide all scratch memory of the process, none of it from the stack: for those who watch
    what is written to it."""
    global _source
    before, _source = _source, (take_memory, give_memory_back)
    try:
        yield
    finally:
        _source = before
