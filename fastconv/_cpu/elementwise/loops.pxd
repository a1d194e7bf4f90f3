from libc.stdint cimport int64_t


cdef extern from "carry_job.h" nogil:
    enum:
        CARRY_AXES

    ctypedef enum carry_t:
        CARRY_COPY_2
        CARRY_COPY_4
        CARRY_COPY_8
        CARRY_NEGATE_FLOAT32
        CARRY_NEGATE_FLOAT64
        CARRY_ADD_FLOAT32
        CARRY_ADD_FLOAT64
        CARRY_SUBTRACT_FLOAT32
        CARRY_SUBTRACT_FLOAT64
        CARRY_FLOAT16_TO_FLOAT32
        CARRY_FLOAT32_TO_FLOAT16
        CARRY_BFLOAT16_TO_FLOAT32
        CARRY_FLOAT32_TO_BFLOAT16
        CARRY_INT8_TO_FLOAT64
        CARRY_UINT8_TO_FLOAT64
        CARRY_SUBTRACT_INT16
        CARRY_FLOAT64_TO_INT32

    ctypedef struct carry_job_t:
        carry_t carry
        int64_t size[CARRY_AXES]
        const char *source
        char *result
        int64_t source_step[CARRY_AXES]
        int64_t result_step[CARRY_AXES]
        const int64_t *source_index[3]
        const int64_t *result_index[3]

    int64_t carry_items(carry_job_t *job)


cdef int run_carry(carry_job_t *job, int threads) except -1
