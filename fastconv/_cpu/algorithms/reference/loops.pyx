"""Loops over the items of reference.c."""

from libc.stdint cimport int64_t

from ...engine.correlation cimport BoundProblem
from ...engine.runtime cimport run_items
from ...engine.kernel_types cimport correlation_t, item_fn


cdef extern from "reference.h" nogil:
    ctypedef enum reference_direction_t:
        REFERENCE_FORWARD

    ctypedef struct reference_job_t:
        correlation_t correlation
        reference_direction_t direction

    int64_t reference_items(const reference_job_t *job)
    void reference_float32(const void *job, int64_t item, void *scratch)
    void reference_float64(const void *job, int64_t item, void *scratch)
    void reference_complex64(const void *job, int64_t item, void *scratch)
    void reference_complex128(const void *job, int64_t item, void *scratch)
    void reference_int8(const void *job, int64_t item, void *scratch)


# The order of reference_direction_t.
_DIRECTIONS = ("forward", "backward_input", "backward_weight")


cdef item_fn _function(str dtype) except *:
    if dtype == "float32":
        return <item_fn>reference_float32
    if dtype == "float64":
        return <item_fn>reference_float64
    if dtype == "complex64":
        return <item_fn>reference_complex64
    if dtype == "complex128":
        return <item_fn>reference_complex128
    if dtype == "int8":
        return <item_fn>reference_int8
    raise TypeError(f"no reference loops for dtype {dtype}")


def execute(problem, operands, int threads):
    """Compute the problem's direction by its definition, without the epilogue."""
    cdef BoundProblem bound = BoundProblem(problem, operands)
    cdef reference_job_t job
    job.correlation = bound.forward()
    job.direction = <reference_direction_t><int>_DIRECTIONS.index(problem.direction)
    run_items(_function(problem.dtype), &job, reference_items(&job), 0, None, 0, threads)
