# cython: cdivision=True
"""A problem's correlation and the arrays it is computed on: sizes worked out once, memory pinned for each execution."""

from ..._algorithm import MAX_PHASES
from ..._correlation import Correlation

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memset

from .kernel_types cimport activation_t, correlation_t, epilogue_t

# The order of activation_t in csrc/correlation.h.
_ACTIVATIONS = (None, "relu", "relu6", "leaky_relu", "silu", "gelu", "tanh", "sigmoid")


cdef class CompiledCorrelation:
    """The correlations of a problem, as _correlation.py derives them, for kernels: all but the arrays. Immutable.

    It has ``phase_count`` phases, each a correlation_t: forward and backward_weight have one, backward_input has one
    for every stride phase with elements in the input; none where there are more than MAX_PHASES.
    """

    def __cinit__(self, problem):
        self.problem = problem
        self.is_phased = problem.direction == "backward_input"
        self._set_sizes()
        self.phase_count = problem.phases if problem.phases <= MAX_PHASES else 0
        if self.is_phased and self.phase_count > 0:
            self._set_phases(Correlation.of(problem).axes)

    def __dealloc__(self):
        PyMem_Free(self._phases)

    cdef _set_sizes(self):
        cdef correlation_t *c = &self._forward
        cdef int i
        problem = self.problem
        memset(c, 0, sizeof(correlation_t))
        c.batch, c.groups = problem.batch, problem.groups
        c.channels = problem.in_channels // problem.groups
        c.filters = problem.out_channels // problem.groups
        for i in range(3):
            c.pixels[i] = problem.output_size[i]
            c.taps[i] = problem.kernel_size[i]
            c.source_size[i] = problem.input_size[i]
            c.step[i] = problem.stride[i]
            c.first[i] = -problem.padding[i][0]
            c.delta[i] = problem.dilation[i]
        memset(&self._epilogue, 0, sizeof(epilogue_t))
        self._epilogue.slope = problem.epilogue.slope
        self._epilogue.activation = <activation_t><int>_ACTIVATIONS.index(problem.epilogue.activation)

    cdef _set_phases(self, axes):
        """One phase of an axis after the other, in one array for the three axes."""
        cdef axis_phase_t *own
        cdef int64_t index
        cdef int i
        self._phases = <axis_phase_t *>PyMem_Malloc(sum([axis.phases for axis in axes]) * sizeof(axis_phase_t))
        if self._phases == NULL:
            raise MemoryError
        own = self._phases
        for i in range(3):
            axis = axes[i]
            self._of_axis[i], self._axis_phases[i] = own, axis.phases
            self._tap_step[i], self._delta[i] = axis.tap_step, axis.delta
            for index in range(self._axis_phases[i]):
                _, own.pixels, own.taps, own.first, own.first_tap = axis.phase(index)
                own += 1

    cdef correlation_t phase(self, const operands_t *operands, int64_t index, epilogue_t *epilogue) noexcept:
        """The ``index``-th phase on ``operands``, and its epilogue."""
        cdef correlation_t c
        self._set_forward(operands, &c, epilogue)
        if self.is_phased:
            self._set_phase(index, operands.itemsize, &c, epilogue)
        return c

    cdef void _set_forward(self, const operands_t *operands, correlation_t *c, epilogue_t *epilogue) noexcept:
        """The problem's forward correlation, whatever its direction."""
        cdef int i
        c[0] = self._forward
        c.source = operands.data[INPUT]
        c.weight = operands.data[WEIGHT]
        c.result = operands.data[OUTPUT]
        epilogue[0] = self._epilogue
        epilogue.bias = operands.data[BIAS]
        epilogue.add = operands.data[ADD]
        for i in range(5):
            c.source_stride[i] = operands.stride[INPUT][i]
            c.weight_stride[i] = operands.stride[WEIGHT][i]
            c.result_stride[i] = operands.stride[OUTPUT][i]
            epilogue.add_stride[i] = operands.stride[ADD][i]
        c.weight_group_stride = c.filters * c.weight_stride[0]

    cdef void _set_phase(self, int64_t index, int64_t itemsize, correlation_t *c, epilogue_t *epilogue) noexcept:
        """Turn the forward correlation into that of one stride phase, which reads the output and writes the input."""
        cdef correlation_t f = c[0]
        cdef const axis_phase_t *own
        cdef int64_t begin
        cdef int i
        c.channels, c.filters = f.filters, f.channels
        c.source, c.result = f.result, f.source
        for i in range(2):
            c.source_stride[i] = f.result_stride[i]
            c.result_stride[i] = f.source_stride[i]
        c.weight_stride[0], c.weight_stride[1] = f.weight_stride[1], f.weight_stride[0]
        for i in range(2, -1, -1):
            begin = index % self._axis_phases[i]
            index //= self._axis_phases[i]
            own = &self._of_axis[i][begin]
            c.pixels[i], c.taps[i], c.first[i] = own.pixels, own.taps, own.first
            c.source_size[i] = f.pixels[i]
            c.step[i], c.delta[i] = 1, self._delta[i]
            c.source_stride[2 + i] = f.result_stride[2 + i]
            c.result_stride[2 + i] = f.source_stride[2 + i] * f.step[i]
            c.weight_stride[2 + i] = f.weight_stride[2 + i] * self._tap_step[i]
            c.result += begin * f.source_stride[2 + i] * itemsize
            c.weight += own.first_tap * f.weight_stride[2 + i] * itemsize
            if epilogue.add != NULL:
                epilogue.add += begin * epilogue.add_stride[2 + i] * itemsize
                epilogue.add_stride[2 + i] *= f.step[i]


cdef void point_forward(correlation_t *c, int64_t itemsize) noexcept:
    """Walk the taps so that the source index grows, which is all that some kernels know."""
    cdef int axis
    for axis in range(3):
        if c.delta[axis] < 0:
            c.first[axis] += max(c.taps[axis] - 1, 0) * c.delta[axis]
            c.weight += max(c.taps[axis] - 1, 0) * c.weight_stride[2 + axis] * itemsize
            c.delta[axis] = -c.delta[axis]
            c.weight_stride[2 + axis] = -c.weight_stride[2 + axis]


cdef void merge_axes(correlation_t *c, epilogue_t *e) noexcept:
    """Merge axes that are read and written whole and have a single tap, as in 1x1 convolutions, into one long axis."""
    cdef int axis
    for axis in range(1, -1, -1):
        if axis == 0 and c.pixels[1] != 1:
            return
        if c.taps[axis] != 1 or c.taps[2] != 1 or c.step[axis] != 1 or c.step[2] != 1:
            return
        if c.first[axis] != 0 or c.first[2] != 0 or c.pixels[2] != c.source_size[2]:
            return
        if c.pixels[axis] != c.source_size[axis]:
            return
        if c.source_stride[2 + axis] != c.source_stride[4] * c.pixels[2]:
            return
        if c.result_stride[2 + axis] != c.result_stride[4] * c.pixels[2]:
            return
        if e.add != NULL and e.add_stride[2 + axis] != e.add_stride[4] * c.pixels[2]:
            return
        c.pixels[2] *= c.pixels[axis]
        c.source_size[2] = c.pixels[2]
        c.pixels[axis] = 1
        c.source_size[axis] = 1


cdef class BoundProblem:
    """A problem's correlation on arrays, whose memory is pinned for as long as this lives."""

    def __cinit__(self, problem, operands):
        self._pinned = 0
        if problem is None:
            return
        self.problem = problem
        self.correlation = CompiledCorrelation(problem)
        memset(&self.operands, 0, sizeof(operands_t))
        direction = problem.direction
        self._pin(operands.input, INPUT, direction == "backward_input")
        self.itemsize = self.operands.itemsize = self._buffers[0].itemsize
        self._pin(operands.weight, WEIGHT, direction == "backward_weight")
        self._pin(operands.output, OUTPUT, direction == "forward")
        if operands.bias is not None:
            self._pin(operands.bias, BIAS, False)
        if operands.add is not None:
            self._pin(operands.add, ADD, False)

    @staticmethod
    cdef BoundProblem over(CompiledCorrelation correlation, const operands_t *operands):
        """``correlation`` on operands that the caller has pinned."""
        cdef BoundProblem bound = BoundProblem.__new__(BoundProblem, None, None)
        bound.problem, bound.correlation, bound.operands = correlation.problem, correlation, operands[0]
        bound.itemsize = operands.itemsize
        return bound

    def __dealloc__(self):
        cdef int i
        for i in range(self._pinned):
            PyBuffer_Release(&self._buffers[i])

    cdef _pin(self, object array, int role, bint writable):
        cdef Py_buffer *buffer = &self._buffers[self._pinned]
        cdef int i
        PyObject_GetBuffer(array, buffer, PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
        self._pinned += 1
        self.operands.data[role] = <char *>buffer.buf
        for i in range(min(5, buffer.ndim)):
            self.operands.stride[role][i] = buffer.strides[i] // buffer.itemsize

    cdef correlation_t forward(self):
        """The problem's forward correlation, whatever its direction."""
        cdef correlation_t c
        cdef epilogue_t e
        self.correlation._set_forward(&self.operands, &c, &e)
        return c

    cdef correlation_t phase(self, int64_t index, epilogue_t *epilogue):
        """The ``index``-th phase, and its epilogue."""
        return self.correlation.phase(&self.operands, index, epilogue)


cdef char *packed_memory(object packed, int64_t min_bytes, Py_buffer *view) except NULL:
    """The memory of packed weights, pinned by ``view``; a ValueError where it is not what a kernel would read."""
    PyObject_GetBuffer(packed, view, PyBUF_SIMPLE)
    # An empty buffer may lie at any address.
    if view.len < min_bytes or (view.len > 0 and <uintptr_t>view.buf & 63):
        PyBuffer_Release(view)
        raise ValueError("w: got packed weights of another size or alignment; allowed: those that pack returned")
    return <char *>view.buf


cdef class Kernel:
    """An algorithm's compiled loops with all that they need to know of a problem but its arrays. Immutable.

    Executions of one may overlap, in other threads or in a signal handler: ``run`` keeps what it changes to itself.
    """

    cdef int run(self, const operands_t *operands, object packed, char *workspace, int64_t workspace_bytes,
                 int threads, unsigned char *marks) except -1:
        """Compute the result. The memory is pinned by the caller; ``workspace`` is 64-byte aligned.

        Where data are not finite, or too large, results may have to be computed in another way. IMAGES_ARE_SPOILED:
        those of the images whose ``marks``, one byte each and 0 before, are set. ALL_IS_SPOILED: the whole result.
        """
        raise NotImplementedError

    def execute(self, operands, resources):
        """Compute the result; the numbers of the images that are spoiled, or None: the whole result is."""
        cdef BoundProblem bound = BoundProblem(self.correlation.problem, operands)
        cdef bytearray marks = bytearray(max(self.correlation.problem.batch, 1))
        cdef Py_buffer view
        cdef int state
        if resources.workspace is None:
            state = self.run(&bound.operands, operands.packed, NULL, 0, resources.threads, marks)
        else:
            PyObject_GetBuffer(resources.workspace, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
            try:
                state = self.run(&bound.operands, operands.packed, <char *>view.buf, view.len, resources.threads, marks)
            finally:
                PyBuffer_Release(&view)
        return None if state == ALL_IS_SPOILED else spoiled_images(marks)


def spoiled_images(bytearray marks):
    """The numbers of the images that are marked."""
    return [n for n, mark in enumerate(marks) if mark]
