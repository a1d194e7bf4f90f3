# cython: cdivision=True
"""Plans launched on users' arrays: their memory found by the buffer protocol, the result made, the kernel run."""

import numpy as np

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset

from .correlation cimport ADD, BIAS, INPUT, OUTPUT, ROLES, WEIGHT, Kernel, operands_t
from .pages cimport empty
from .workspace cimport WORKSPACE_ON_STACK_BYTES, give_back, take

_ROLES = {"input": INPUT, "weight": WEIGHT, "output": OUTPUT, "bias": BIAS, "add": ADD}
cdef object _ndarray = np.ndarray


cdef int pin(pins_t *pins, object array) except -1:
    """Hold the memory of one more array, or of None."""
    cdef Py_buffer *view = &pins.view[pins.count]
    if array is None:
        view.ndim = -1
    else:
        PyObject_GetBuffer(array, view, PyBUF_STRIDES)
    pins.count += 1
    return 0


cdef void unpin(pins_t *pins) noexcept:
    cdef int i
    for i in range(pins.count):
        if pins.view[i].ndim >= 0:
            PyBuffer_Release(&pins.view[i])


cdef object result_for(object out, tuple shape, object dtype):
    """``out``, or a new array where it is None; None where ``out`` is not a plain array that fits."""
    if out is None:
        return empty(shape, dtype)
    if type(out) is not _ndarray or out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        return None
    return out


cdef bint in_place(const Py_buffer *out, const pins_t *pins) noexcept:
    """Whether kernels may write straight into ``out``: no two elements share memory, nor does one with an input."""
    return not (_overlaps_itself(out) or _overlaps(out, pins))


cdef class Launch:
    """What computes a call again for other arrays of the same shapes and dtype. Immutable."""

    cdef object run(self, tuple arrays, const pins_t *pins, object out):
        """The result; None where these arrays have to go the long way."""
        raise NotImplementedError


cdef class ConvLaunch(Launch):
    """One plan. ``roles`` says at which place among the arrays each operand is, ``axes`` which axis of the user's
    array each canonical axis is, -1 for one that it has not. Without a ``kernel``, ``compute(arrays)`` computes."""

    def __cinit__(self, plan, kernel, compute, str result_role, dict roles, dict axes, tuple result_shape, dtype,
                  bint checks_weight):
        cdef int role, axis
        self.kernel, self.compute = kernel, compute
        self.result_shape, self.dtype = result_shape, dtype
        self.result_role = _ROLES[result_role]
        self.threads, self.workspace_bytes = plan.threads, plan.workspace_bytes
        self.item_shift = int(dtype.itemsize).bit_length() - 1
        self.checks_weight = checks_weight
        for name, place in _ROLES.items():
            role = place
            self.source[role] = roles.get(name, -1)
            for axis in range(5):
                self.axes[role][axis] = axes[name][axis] if name in axes else -1

    cdef object run(self, tuple arrays, const pins_t *pins, object out):
        cdef operands_t operands
        cdef int role
        if self.kernel is None:
            return self.compute(arrays) if out is None else None
        memset(&operands, 0, sizeof(operands))
        operands.itemsize = 1 << self.item_shift
        for role in range(ROLES):
            if self.source[role] >= 0 and not self._place(&operands, role, &pins.view[self.source[role]]):
                return None
        if self.checks_weight and not _is_finite(&pins.view[self.source[WEIGHT]]):
            return None
        return self._into(&operands, pins, out)

    cdef object _into(self, operands_t *operands, const pins_t *pins, object out):
        """Compute into ``out`` or a new array."""
        cdef Py_buffer view
        result = result_for(out, self.result_shape, self.dtype)
        if result is None:
            return None
        PyObject_GetBuffer(result, &view, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            if not self._place(operands, self.result_role, &view):
                return None
            if out is not None and not in_place(&view, pins):
                return None
            if self._run(operands, <object>pins.packed if pins.packed != NULL else None):
                return None
        finally:
            PyBuffer_Release(&view)
        return result

    cdef bint _place(self, operands_t *operands, int role, const Py_buffer *view) noexcept:
        """Enter an array; False where it is not aligned, or a bias not contiguous."""
        cdef int axis, own
        cdef int64_t mask = (<int64_t>1 << self.item_shift) - 1
        if <uintptr_t>view.buf & mask:
            return False
        operands.data[role] = <char *>view.buf
        if role == BIAS:
            return view.strides[0] == view.itemsize or view.shape[0] == 1
        for axis in range(5):
            own = self.axes[role][axis]
            if own >= 0:
                if view.strides[own] & mask:
                    return False
                operands.stride[role][axis] = view.strides[own] >> self.item_shift
        return True

    cdef int _run(self, const operands_t *operands, object packed) except -1:
        """1 where the kernel refuses."""
        cdef int refused
        cdef char small[WORKSPACE_ON_STACK_BYTES + 64]
        cdef Py_buffer view
        if self.workspace_bytes <= WORKSPACE_ON_STACK_BYTES:
            return self.kernel.run(operands, packed, <char *>((<uintptr_t>small + 63) & ~<uintptr_t>63),
                                   WORKSPACE_ON_STACK_BYTES, self.threads)
        memory = take(self.workspace_bytes)
        PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
        try:
            refused = self.kernel.run(operands, packed, <char *>view.buf, view.len, self.threads)
        finally:
            PyBuffer_Release(&view)
        give_back(memory)
        return refused


cdef class GradientsLaunch(Launch):
    """Several results of the same arrays; None for those that are not wanted."""

    def __cinit__(self, *parts):
        self.parts = parts

    cdef object run(self, tuple arrays, const pins_t *pins, object out):
        cdef Launch launch
        results = []
        for part in self.parts:
            if part is None:
                results.append(None)
                continue
            launch = part
            result = launch.run(arrays, pins, None)
            if result is None:
                return None
            results.append(result)
        return tuple(results)


cdef void _extent(const Py_buffer *view, uintptr_t *low, uintptr_t *high) noexcept:
    """The bytes from ``low`` to before ``high`` hold the array's elements."""
    cdef int axis
    cdef int64_t reach
    low[0] = high[0] = <uintptr_t>view.buf
    for axis in range(view.ndim):
        reach = view.strides[axis] * (view.shape[axis] - 1)
        if reach < 0:
            low[0] += reach
        else:
            high[0] += reach
    high[0] += view.itemsize


cdef bint _overlaps(const Py_buffer *out, const pins_t *pins) noexcept:
    """Whether ``out`` may share memory with one of the pinned arrays."""
    cdef uintptr_t low, high, first, last
    cdef int i
    _extent(out, &low, &high)
    for i in range(pins.count):
        if pins.view[i].ndim >= 0:
            _extent(&pins.view[i], &first, &last)
            if first < high and low < last:
                return True
    return False


cdef bint _overlaps_itself(const Py_buffer *view) noexcept:
    """Whether two elements may share memory: an axis steps over less than all those of smaller steps reach."""
    cdef int64_t reach = view.itemsize, least = 0, step, done = 0
    cdef int axis, best
    while True:
        best = -1
        for axis in range(view.ndim):
            if view.shape[axis] > 1 and not done >> axis & 1:
                step = abs(view.strides[axis])
                if best < 0 or step < least:
                    best, least = axis, step
        if best < 0:
            return False
        if least < reach:
            return True
        reach += least * (view.shape[best] - 1)
        done |= 1 << best


cdef bint _is_finite(const Py_buffer *view) noexcept:
    """Whether no element of an aligned array of float32 or float64 is NaN or infinite."""
    cdef int64_t index[5]
    cdef int64_t run, step, i
    cdef int axis, inner = view.ndim
    cdef char *at = <char *>view.buf
    # The last axes, as far as they are contiguous, are one run.
    run, step = 1, view.itemsize
    while inner > 0 and view.strides[inner - 1] == run * step:
        inner -= 1
        run *= view.shape[inner]
    memset(index, 0, sizeof(index))
    while True:
        if not (_finite_run32(<const uint32_t *>at, run) if step == 4 else _finite_run64(<const uint64_t *>at, run)):
            return False
        axis = inner - 1
        while axis >= 0:
            index[axis] += 1
            at += view.strides[axis]
            if index[axis] < view.shape[axis]:
                break
            at -= view.strides[axis] * view.shape[axis]
            index[axis] = 0
            axis -= 1
        if axis < 0:
            return True


cdef enum:
    RUN = 64


cdef bint _finite_run32(const uint32_t *bits, int64_t count) noexcept:
    cdef uint32_t found = 0
    cdef int64_t i, begin = 0
    while begin + RUN <= count:
        for i in range(RUN):
            found |= (bits[begin + i] & <uint32_t>0x7F800000) == <uint32_t>0x7F800000
        begin += RUN
    for i in range(begin, count):
        found |= (bits[i] & <uint32_t>0x7F800000) == <uint32_t>0x7F800000
    return found == 0


cdef bint _finite_run64(const uint64_t *bits, int64_t count) noexcept:
    cdef uint64_t found = 0
    cdef int64_t i, begin = 0
    while begin + RUN <= count:
        for i in range(RUN):
            found |= (bits[begin + i] & <uint64_t>0x7FF0000000000000) == <uint64_t>0x7FF0000000000000
        begin += RUN
    for i in range(begin, count):
        found |= (bits[i] & <uint64_t>0x7FF0000000000000) == <uint64_t>0x7FF0000000000000
    return found == 0
