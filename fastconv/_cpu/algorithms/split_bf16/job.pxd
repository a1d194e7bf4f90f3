"""C declarations of job.h."""

from libc.stdint cimport int64_t, uint32_t

from ...engine.kernel_types cimport correlation_t, epilogue_t, item_fn


cdef extern from "job.h" nogil:
    ctypedef struct kernels_t:
        int64_t tile_lines, source_bytes
        double rate, sum_roundoffs
        item_fn pack_weight, correlate, gradient_convert, gradient_multiply, gradient_store

    const kernels_t *kernels_at(int64_t level, int64_t type)

    enum:
        LINE_CHANNELS
        PANEL_FILTERS

    ctypedef enum element_t:
        ELEMENT_FLOAT32

    ctypedef struct split_axis_t:
        int64_t step, delta, origin, phases, reach, shared

    ctypedef struct split_phase_t:
        correlation_t correlation
        epilogue_t epilogue
        const int64_t *tap_lines
        char *packed

    ctypedef struct split_job_t:
        const split_phase_t *phases
        int64_t phase_count
        element_t element
        int64_t element_bytes, pieces, products
        split_axis_t axis[3]
        int64_t pixels[3]
        int64_t block[3]
        int64_t images, image_sets, chunk, block_filters
        uint32_t *largest
        bint is_paired
        int64_t part_pixels[2]
        int64_t pass_ "pass"
        char *lines
        char *gradient
        float *totals

    ctypedef struct split_tiling_t:
        int64_t set_tiles

    ctypedef struct split_scratch_t:
        int64_t bytes

    int64_t div_up(int64_t a, int64_t b)
    int64_t round_up(int64_t a, int64_t b)
    int64_t greatest_common_divisor(int64_t a, int64_t b)
    int64_t split_slots(const split_job_t *job, int axis)
    int64_t split_phase_lines(const split_job_t *job)
    int64_t split_channel_blocks(const split_job_t *job)
    int64_t split_panels(const split_job_t *job)
    int64_t split_packed_bytes(const split_job_t *job, const correlation_t *c)
    int64_t split_images(const split_job_t *job)
    int64_t split_passes(const split_job_t *job)
    int64_t split_channel_panels(const split_job_t *job)
    int64_t split_totals_bytes(const split_job_t *job)
    int64_t split_lines_bytes(const split_job_t *job)
    int64_t split_gradients_bytes(const split_job_t *job)
    int64_t split_gradient_scratch_bytes(const split_job_t *job)
    int64_t split_items(const split_job_t *job)
    int64_t split_pack_items(const split_job_t *job)
    split_tiling_t split_tiling(const split_job_t *job, const int64_t *pixels, int64_t tile_lines)
    split_scratch_t split_scratch(const split_job_t *job, int64_t tile_lines)
