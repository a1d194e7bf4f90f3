# cython: cdivision=True
"""A problem bound to its arrays: pinned buffers and the C correlations that the kernels compute."""

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t
from libc.string cimport memset

from .correlation cimport activation_t, correlation_t, epilogue_t

# The order of activation_t in csrc/correlation.h.
_ACTIVATIONS = (None, "relu", "relu6", "leaky_relu", "silu", "gelu", "tanh", "sigmoid")


cdef class BoundProblem:
    """Pins the operands' memory for as long as it lives.

    ``correlation_count`` and ``correlation`` give the sums to compute: one for forward and backward_weight, one per
    stride phase for backward_input.
    """

    def __cinit__(self, problem, operands):
        self.problem = problem
        self._pinned = 0
        direction = problem.direction
        self._pin(operands.input, direction == "backward_input")
        self._pin(operands.weight, direction == "backward_weight")
        self._pin(operands.output, direction == "forward")
        self.itemsize = self._buffers[0].itemsize
        self._set_forward()
        self._set_epilogue(operands)

    def __dealloc__(self):
        cdef int i
        for i in range(self._pinned):
            PyBuffer_Release(&self._buffers[i])

    cdef _pin(self, object array, bint writable):
        PyObject_GetBuffer(array, &self._buffers[self._pinned], PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
        self._pinned += 1

    cdef _set_forward(self):
        cdef correlation_t *c = &self._forward
        cdef int i
        problem = self.problem
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
        c.source = <char *>self._buffers[0].buf
        c.weight = <char *>self._buffers[1].buf
        c.result = <char *>self._buffers[2].buf
        for i in range(5):
            c.source_stride[i] = self._buffers[0].strides[i] // self._buffers[0].itemsize
            c.weight_stride[i] = self._buffers[1].strides[i] // self._buffers[1].itemsize
            c.result_stride[i] = self._buffers[2].strides[i] // self._buffers[2].itemsize
        c.weight_group_stride = c.filters * c.weight_stride[0]

    cdef _set_epilogue(self, operands):
        cdef epilogue_t *e = &self._epilogue
        cdef Py_buffer *buffer
        cdef int i
        memset(e, 0, sizeof(epilogue_t))
        wanted = self.problem.epilogue
        if operands.bias is not None:
            self._pin(operands.bias, False)
            e.bias = <char *>self._buffers[self._pinned - 1].buf
        if operands.add is not None:
            self._pin(operands.add, False)
            buffer = &self._buffers[self._pinned - 1]
            e.add = <char *>buffer.buf
            for i in range(5):
                e.add_stride[i] = buffer.strides[i] // buffer.itemsize
        e.slope = wanted.slope
        e.activation = <activation_t><int>_ACTIVATIONS.index(wanted.activation)

    cdef correlation_t forward(self):
        """The problem's forward correlation, whatever its direction."""
        return self._forward

    cdef epilogue_t epilogue(self):
        return self._epilogue

    cdef int64_t phase_count(self):
        """Stride phases of backward_input that own at least one input element."""
        cdef int64_t count = 1
        cdef int i
        for i in range(3):
            count *= min(self._forward.step[i], self._forward.source_size[i])
        return count

    cdef correlation_t phase(self, int64_t index, epilogue_t *epilogue):
        """The correlation that computes the input elements of one stride phase from the output gradient.

        On each axis the elements i = phase + stride*p. Output o reaches i through tap t when
        i + before = o*stride + t*dilation; the taps for which (phase + before - t*dilation) is a multiple of the
        stride are t0, t0 + stride/g, ... with g = gcd(stride, dilation), and o falls by dilation/g from one to the next.
        """
        cdef correlation_t *f = &self._forward
        cdef correlation_t c = self._forward
        cdef int64_t phase, phases, stride, dilation, shared, tap, tap_step, origin
        cdef int i
        c.channels, c.filters = f.filters, f.channels
        c.source, c.result = f.result, f.source
        epilogue[0] = self._epilogue
        for i in range(2):
            c.source_stride[i] = f.result_stride[i]
            c.result_stride[i] = f.source_stride[i]
        c.weight_stride[0], c.weight_stride[1] = f.weight_stride[1], f.weight_stride[0]
        for i in range(2, -1, -1):
            stride, dilation = f.step[i], f.delta[i]
            phases = min(stride, f.source_size[i])
            phase = index % phases
            index //= phases
            shared = _gcd(stride, dilation)
            tap_step = stride // shared
            origin = phase - f.first[i]
            tap = 0
            while tap < min(tap_step, f.taps[i]) and (origin - tap * dilation) % stride != 0:
                tap += 1
            c.pixels[i] = (f.source_size[i] - phase + stride - 1) // stride
            c.source_size[i] = f.pixels[i]
            c.step[i] = 1
            c.delta[i] = -(dilation // shared)
            c.source_stride[2 + i] = f.result_stride[2 + i]
            c.result_stride[2 + i] = f.source_stride[2 + i] * stride
            c.weight_stride[2 + i] = f.weight_stride[2 + i] * tap_step
            c.result += phase * f.source_stride[2 + i] * self.itemsize
            if tap < min(tap_step, f.taps[i]):
                c.taps[i] = (f.taps[i] - tap + tap_step - 1) // tap_step
                c.first[i] = (origin - tap * dilation) // stride
                c.weight += tap * f.weight_stride[2 + i] * self.itemsize
            else:
                c.taps[i] = 0
                c.first[i] = 0
            if epilogue.add != NULL:
                epilogue.add += phase * self._epilogue.add_stride[2 + i] * self.itemsize
                epilogue.add_stride[2 + i] *= stride
        return c

    cdef int64_t correlation_count(self) except -1:
        return self.phase_count() if self.problem.direction == "backward_input" else 1

    cdef correlation_t correlation(self, int64_t index, epilogue_t *epilogue):
        """The ``index``-th sum of the problem's direction, and its epilogue."""
        if self.problem.direction == "backward_input":
            return self.phase(index, epilogue)
        epilogue[0] = self._epilogue
        return self._forward


cdef int64_t _gcd(int64_t a, int64_t b):
    while b:
        a, b = b, a % b
    return a
