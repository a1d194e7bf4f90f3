# cython: cdivision=True
"""Convolutions on users' arrays: what kernels can read and write is, where it lies; the rest is carried into scratch
memory, by passes that were worked out when the call was prepared, and out of it."""

import math

import numpy as np

from .correlation import spoiled_images

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memcpy, memset

from ..elementwise.loops cimport CARRY_AXES, carry_job_t, carry_t, run_carry
from .compiled_call cimport CompiledCall, in_place, is_finite, is_finite_run, pins_t, result_for
from .correlation cimport (
    ADD,
    ALL_IS_SPOILED,
    BIAS,
    DONE,
    IMAGES_ARE_SPOILED,
    INPUT,
    OUTPUT,
    ROLES,
    WEIGHT,
    Kernel,
    operands_t,
)
from .workspace cimport WORKSPACE_ON_STACK_BYTES, address, aligned, give_back, is_on_stack, take

_ROLES = {"input": INPUT, "weight": WEIGHT, "output": OUTPUT, "bias": BIAS, "add": ADD}
_NAMES = {role: name for name, role in _ROLES.items()}
cdef enum:
    SCRATCH = -1
    CONSTANT = -2
    MAX_STACK_IMAGES = 256  # are marked on the stack


cdef class Carry:
    """One pass over the elements of an array: of the call's, by the name of its role, of scratch memory, or constant.

    ``size``: six axes. Of an array of the call the canonical axes ``split`` and the next one are (groups, those in one
    group); its steps are its own. ``source`` and ``result`` are (role, bytes to add), (None, bytes, steps in bytes) in
    scratch memory, or an array of the six axes. ``index``: of the last three axes, for the side that it is named for.
    """

    def __cinit__(self, int carry, size, int split, source, result, index=(None, None, None), bint is_source_index=True):
        cdef int axis
        cdef Py_buffer view
        memset(&self.job, 0, sizeof(self.job))
        self.job.carry, self.split = <carry_t>carry, split
        for axis in range(CARRY_AXES):
            self.job.size[axis] = size[axis]
        self.source_role = self.result_role = SCRATCH
        if isinstance(source, np.ndarray):
            self.source_role = CONSTANT
            self.job.source = <const char *>address(source)
            for axis in range(CARRY_AXES):
                self.job.source_step[axis] = source.strides[axis]
        elif source[0] is None:
            for axis in range(CARRY_AXES):
                self.job.source_step[axis] = source[2][axis]
        else:
            self.source_role = _ROLES[source[0]]
        if not isinstance(source, np.ndarray):
            self.source_at = source[1]
        self.result_at = result[1]
        if result[0] is None:
            for axis in range(CARRY_AXES):
                self.job.result_step[axis] = result[2][axis]
        else:
            self.result_role = _ROLES[result[0]]
        index = tuple([None if each is None else np.ascontiguousarray(each, np.int64) for each in index])
        self.kept = (source, *index)
        for axis in range(3):
            if index[axis] is not None:
                if is_source_index:
                    self.job.source_index[axis] = <const int64_t *>address(index[axis])
                else:
                    self.job.result_index[axis] = <const int64_t *>address(index[axis])

    cdef int run(self, char *const *data, int64_t (*step)[5], char *scratch, int threads) except -1:
        cdef carry_job_t job = self.job
        if self.source_role >= 0:
            job.source = data[self.source_role] + self.source_at
            _set_steps(job.source_step, step[self.source_role], self.split, job.size)
        elif self.source_role == SCRATCH:
            job.source = scratch + self.source_at
        if self.result_role >= 0:
            job.result = data[self.result_role] + self.result_at
            _set_steps(job.result_step, step[self.result_role], self.split, job.size)
        else:
            job.result = scratch + self.result_at
        return run_carry(&job, threads)


cdef void _set_steps(int64_t *six, const int64_t *five, int split, const int64_t *size) noexcept:
    """The steps of canonical axes, of which ``split`` is two: groups, and those in one group."""
    cdef int axis
    for axis in range(5):
        six[axis + (axis > split)] = five[axis]
    six[split + 1] = five[split]
    six[split] = five[split] * size[split + 1]


cdef class ConvolutionCall(CompiledCall):
    """One plan, as ``prepare`` made it. ``places`` says at which place among the arrays each operand is, ``axes`` which
    axis of the user's array each canonical axis is, -1 for one that it lacks.

    ``before`` the kernel come passes into scratch memory, ``after`` it those to the result; with ``is_folded`` the
    result is made of scratch memory by ``views.fold``. Without a ``kernel`` the algorithm computes in NumPy, on
    ``views``; so it does what a kernel leaves to it where data are not finite.
    """

    def __cinit__(self, plan, kernel, str result_role, dict axes, tuple result_shape, dtype, int64_t itemsize,
                  int64_t scratch_bytes, dict scratch, tuple before, tuple after, bint is_folded, bint checks_weight,
                  views):
        cdef int role, axis
        self.plan, self.kernel, self.views = plan, kernel, views
        self.result_shape, self.dtype, self.itemsize = result_shape, dtype, itemsize
        self.result_role = _ROLES[result_role]
        self.threads, self.workspace_bytes = plan.threads, plan.workspace_bytes
        self.scratch_bytes, self.limit_bytes = scratch_bytes, plan.limit_bytes
        self.before, self.after, self.is_folded, self.checks_weight = before, after, is_folded, checks_weight
        self.is_complex = plan.problem.dtype.startswith("complex")
        self.images = max(plan.problem.batch, 1)
        self.weights = math.prod(scratch["weight"][1]) if "weight" in scratch else 0
        self.scratch_views = {}
        for name, number in _ROLES.items():
            role = number
            self.place[role], self.scratch_at[role] = -1, -1
            for axis in range(5):
                self.axes[role][axis] = axes[name][axis] if name in axes else -1
            if name in scratch:
                self.scratch_at[role] = scratch[name][0]
                for axis in range(5):
                    self.scratch_step[role][axis] = scratch[name][2][axis]
                self.scratch_views[name] = scratch[name]

    def at(self, dict places):
        """Take the operands from these places among the arrays. Only before other threads know of this."""
        cdef int role
        for name, number in _ROLES.items():
            role = number
            self.place[role] = places.get(name, -1)
        return self

    @property
    def bytes(self):
        """Bytes of scratch memory."""
        return self.scratch_bytes + self.workspace_bytes

    cdef object run(self, tuple arrays, const pins_t *pins, object out):
        cdef memory_t memory
        cdef Py_buffer view
        cdef int role
        if self.scratch_bytes + self.workspace_bytes > self.limit_bytes and self.scratch_bytes:
            return None
        memset(&memory, 0, sizeof(memory))
        for role in range(ROLES):
            if self.place[role] >= 0 and not self._enter(&memory, role, &pins.view[self.place[role]]):
                return None
        result = result_for(out, self.result_shape, self.dtype)
        if result is None:
            return None
        exported = result if self.dtype.char != "E" else result.view(np.uint16)
        PyObject_GetBuffer(exported, &view, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            if not self._enter(&memory, self.result_role, &view):
                return None
            if out is not None and not in_place(&view, pins):
                return None
            # What is packed is the weight itself, not what is carried in its place: its conjugate, say.
            takes_packed = pins.packed != NULL and self.scratch_at[WEIGHT] < 0
            self._compute(&memory, arrays, <object>pins.packed if takes_packed else None, result)
        finally:
            PyBuffer_Release(&view)
        return result

    cdef bint _enter(self, memory_t *memory, int role, const Py_buffer *view) noexcept:
        """Enter an array into ``memory``; False where it is not aligned, or a bias not contiguous."""
        cdef int axis, own
        # Complex numbers are aligned as their parts are.
        cdef int64_t mask = 0 if self.scratch_at[role] >= 0 else min(view.itemsize >> self.is_complex, <int64_t>8) - 1
        if <uintptr_t>view.buf & mask:
            return False
        memory.data[role], memory.view[role] = <char *>view.buf, view
        if role == BIAS:
            memory.step[BIAS][1] = view.strides[0] if view.shape[0] > 1 else view.itemsize
            return memory.step[BIAS][1] == view.itemsize
        for axis in range(5):
            own = self.axes[role][axis]
            if own >= 0:
                if view.strides[own] & mask:
                    return False
                memory.step[role][axis] = view.strides[own]
        return True

    cdef int _compute(self, memory_t *memory, tuple arrays, object packed, object result) except -1:
        """Compute in scratch memory on the stack, or in this thread's."""
        cdef char small[WORKSPACE_ON_STACK_BYTES + 64]
        cdef Py_buffer view
        cdef int64_t size = self.scratch_bytes + self.workspace_bytes
        if is_on_stack(size):
            return self._run(memory, packed, <char *>((<uintptr_t>small + 63) & ~<uintptr_t>63), size, None, arrays,
                             result)
        scratch = take(size)
        PyObject_GetBuffer(scratch, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            self._run(memory, packed, <char *>view.buf, size, scratch, arrays, result)
        finally:
            PyBuffer_Release(&view)
        give_back(scratch)
        return 0

    cdef int _run(self, memory_t *memory, object packed, char *scratch, int64_t size, object owner, tuple arrays,
                  object result) except -1:
        """The same with the array that owns the scratch memory; None: it is on the stack."""
        cdef operands_t operands
        cdef unsigned char few[MAX_STACK_IMAGES]
        cdef unsigned char *marks = few
        cdef int role, axis, state = ALL_IS_SPOILED
        cdef Carry carry
        cdef bytearray many = None
        for each in self.before:
            carry = each
            carry.run(memory.data, memory.step, scratch, self.threads)
        memset(&operands, 0, sizeof(operands))
        operands.itemsize = self.itemsize
        for role in range(ROLES):
            if self.scratch_at[role] >= 0:
                operands.data[role] = scratch + self.scratch_at[role]
                for axis in range(5):
                    operands.stride[role][axis] = self.scratch_step[role][axis] // self.itemsize
            elif memory.data[role] != NULL and not (self.after and role in (BIAS, ADD)):
                operands.data[role] = memory.data[role]
                for axis in range(5):
                    operands.stride[role][axis] = memory.step[role][axis] // self.itemsize
        if self.kernel is not None and not (self.checks_weight and not self._is_finite(memory, scratch)):
            if self.images > MAX_STACK_IMAGES:
                many = bytearray(self.images)
                marks = many
            memset(marks, 0, self.images)
            state = self.kernel.run(&operands, packed, scratch + self.scratch_bytes, size - self.scratch_bytes,
                                    self.threads, marks)
        if state != DONE or self.is_folded:
            spoiled = None
            if state == IMAGES_ARE_SPOILED:
                spoiled = spoiled_images(bytearray(<bytes>marks[:self.images]))
            self._in_numpy(scratch, size, owner, arrays, packed, result, state != DONE, spoiled)
        for each in self.after:
            carry = each
            carry.run(memory.data, memory.step, scratch, self.threads)
        return 0

    cdef int _in_numpy(self, char *scratch, int64_t size, object owner, tuple arrays, object packed, object result,
                       bint computes, object spoiled) except -1:
        """What is left to NumPy. An exception keeps its arrays alive: they are never ones on the stack."""
        cdef Py_buffer view
        copy = aligned(size) if owner is None else owner
        PyObject_GetBuffer(copy, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        try:
            if owner is None:
                memcpy(view.buf, scratch, self.scratch_bytes)
            views = self._views_of(arrays, copy, result)
            if computes:
                self.views.compute(views, packed, copy[self.scratch_bytes:], self.kernel is not None, spoiled)
            if self.is_folded:
                self.views.fold(views[_NAMES[self.result_role]], result)
            if owner is None:
                memcpy(scratch, view.buf, self.scratch_bytes)
        finally:
            PyBuffer_Release(&view)
        return 0

    cdef object _views_of(self, tuple arrays, object owner, object result):
        """The operands as the algorithm sees them, by the names of their roles."""
        found = {}
        for name, number in _ROLES.items():
            if name in self.scratch_views:
                at, shape, steps = self.scratch_views[name]
                found[name] = np.ndarray(shape, self.views.dtype, owner, at, steps[:len(shape)])
            elif number == self.result_role:
                found[name] = self.views.canonical(name, result)
            elif self.place[number] >= 0 and not (self.after and number in (BIAS, ADD)):
                found[name] = self.views.canonical(name, arrays[self.place[number]])
        return found

    cdef bint _is_finite(self, const memory_t *memory, const char *scratch) noexcept:
        """Whether no weight is NaN or infinite."""
        if self.scratch_at[WEIGHT] >= 0:
            return is_finite_run(scratch + self.scratch_at[WEIGHT], self.weights, self.itemsize)
        return is_finite(memory.view[WEIGHT])
