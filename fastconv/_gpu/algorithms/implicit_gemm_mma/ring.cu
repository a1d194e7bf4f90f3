// Weight gradients of 16-bit floats by mma.sync (sm_80 and later), whose taps share what is read of the source: any
// strides of arrays, steps, padding, dilation and groups.
//
// M = filters, N = TAPS taps of CHUNKS chunks of 8 channels, reduction = pixels (n, d, h, w), BK of them a step. The
// result's pixels lie in shared memory as in memory, (filter, pixel): ldmatrix. The source does as units of 16 bytes, 8
// channels of one position: ldmatrix transposes, and a tap is a distance that is added to the pixels' addresses.
//
// The rows of the source that a plane of pixels reads, `gap` more than its own for the taps, follow each other from
// plane to plane. The last ring.rows of them are held, and every element is read once by a block. Rows are of
// ring.pitch units, columns apart by the step of pixels in ring.part units.
//
// SOURCE_VECTOR: neighbouring columns of a load; RESULT_VECTOR: pixels of a copy (of others pixels.cu makes an array of
// such). The sums of a split are stored as (split, group, filter, column), a column being (tap, channel), the channels
// of a tap filled up to whole chunks; sums.cu or add_partials.cu adds them.
//
// Numerics, preconditions: see kernels.cu. Pixels behind the last one read units of zeros.
#define THREADS (32 * WARPS_M * WARPS_N)
#define BM (16 * MT * WARPS_M)
#define BK 64
#define TAPS (TAP_ROWS * TAP_COLUMNS)
#define CHUNKS (WARPS_N * NT / TAPS)
#define PITCH_A (BK * SIZE + 16) // bytes of a filter
#define STAGE_BYTES (BM * PITCH_A)
#define STEPS (BK / 16)
#define SLOTS (STEPS * NT) // of a step: products with one tile of columns, among which memory is read
#define AT_ONCE (THREADS / CHUNKS) // loads of a chunk
#define NOWHERE (1 << 30)
#define TABLES 4
#define COPIES (BM * BK / RESULT_VECTOR / THREADS) // of a thread in a step
#define FILTERS_APART (THREADS * RESULT_VECTOR / BK)
// When the copies are started, and when memory is read: what comes first waits for what all are waited for.
#define COPY_SLOT(copy) (3 + copy * (SLOTS - 3) / COPIES)
#define SOURCE_SLOT(i) (SLOTS / 6 + i * (SLOTS - SLOTS / 6) / max(GROUPS, 1))

struct fc_ring {
    fc_divider lines;        // of pixels, of a plane
    fc_divider source_lines; // that these read
    fc_divider planes;       // of an image
    fc_divider loads;        // of a row
    fc_divider rows;         // of the ring
    fc_divider step;         // columns from one pixel to the next
    fc_divider tap_groups;   // of a plane of taps
    int gap, pitch, part, plane; // plane: units of a chunk
    int before;              // columns in front of those that taps read, for the sake of alignment
};

// n / d; ALL_DIVIDE: none of the dividers is 1.
static __device__ __forceinline__ int fc_divided(int n, const fc_divider &v) {
    return ALL_DIVIDE ? __umulhi(n, v.multiplier) >> v.shift : fc_quotient(n, v);
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    weight_gradient(const fc_element *__restrict__ source, const fc_element *__restrict__ result, void *weight, void *,
                    const __grid_constant__ fc_correlation c, const __grid_constant__ fc_gemm gemm,
                    const __grid_constant__ fc_ring ring) {
    FC_DYNAMIC_SHARED(shared);
    unsigned char *units = shared + STAGES * STAGE_BYTES;
    int *places = (int *)(units + CHUNKS * ring.plane * 16); // of the pixels of some steps, in turn
    int2 *rows_of = (int2 *)(places + TABLES * BK);
    const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5, group = blockIdx.y;
    const int tile_n = fc_quotient(blockIdx.x, gemm.filter_tiles);
    const int first_m = (blockIdx.x - tile_n * gemm.filter_tiles.d) * BM;
    const int tap_group = fc_quotient(tile_n, gemm.channel_blocks);
    const int first_channel = (tile_n - tap_group * gemm.channel_blocks.d) * (8 * CHUNKS);
    const int tap_d = fc_quotient(tap_group, ring.tap_groups);
    const int tap_h = (tap_group - tap_d * ring.tap_groups.d) * TAP_ROWS;
    const int begin = blockIdx.z * gemm.depth_of_split, end = min(begin + gemm.depth_of_split, gemm.depth);
    const int steps = (end - begin + BK - 1) / BK, held_units = ring.rows.d * ring.pitch;

    // The row of the source that a line of pixels reads through the first taps, counted through all planes.
    auto row_of = [&](int line) { return line * c.step[1] + fc_divided(line, ring.lines) * ring.gap; };
    auto in_ring = [&](int row) { return (row - fc_divided(row, ring.rows) * (int)ring.rows.d) * ring.pitch; };
    // Where a step's pixels read, and the rows of the first and of the last one.
    auto place_pixels = [&](int step) {
        const int thread = fc_thread_index(), i = thread % BK, pixel = begin + step * BK + i, known = min(pixel, end - 1);
        const int line = fc_divided(known, gemm.row), row = row_of(line), slot = step % TABLES;
        const int place = in_ring(row) + (known - line * (int)gemm.row.d) + (SIDE_BY_SIDE ? ring.before : 0);
        if (thread < BK) places[slot * BK + i] = pixel < end ? place : NOWHERE;
        if (thread == 0) rows_of[slot].x = row;
        if (thread == BK - 1) rows_of[slot].y = row;
    };

    // -- the result
    const int a_pixel = thread % (BK / RESULT_VECTOR) * RESULT_VECTOR, a_filter = thread / (BK / RESULT_VECTOR);
    const int a_to = a_filter * PITCH_A + a_pixel * SIZE;
    const offset_t a_first = (offset_t)((group * c.filters + first_m + a_filter) * c.result_stride[1]);
    const offset_t a_step = (offset_t)c.result_stride[1] * (FILTERS_APART * SIZE); // bytes to the next copy
    const char *a_from;
    bool a_there;
    auto open_result = [&](int step) {
        const int pixel = begin + step * BK + a_pixel, known = min(pixel, (gemm.depth - 1) & -RESULT_VECTOR);
        offset_t at;
        if (FLAT) { // an image's pixels are one piece
            const int n = fc_quotient(known, gemm.image);
            at = n * (offset_t)c.result_stride[0] + (known - n * (int)gemm.image.d);
        } else
            at = (offset_t)fc_offset(fc_decode(known, gemm), c.result_stride);
        a_there = pixel < end;
        a_from = (const char *)(result + c.result_at + (a_first + at));
    };
    auto copy_result = [&](unsigned char *stage, int copy) {
        const int filter = copy * FILTERS_APART;
        const bool there = a_there && (WHOLE_FILTERS || first_m + a_filter + filter < gemm.rows);
        fc_copy_async<RESULT_VECTOR * SIZE>(stage + filter * PITCH_A + a_to,
                                            WHOLE_FILTERS || there ? (const void *)a_from : result,
                                            there ? RESULT_VECTOR * SIZE : 0);
        a_from += a_step;
    };

    // -- the source
    const int b_left = thread / AT_ONCE < CHUNKS ? c.channels - first_channel - thread / AT_ONCE * 8 : 0;
    const int first_row = row_of(fc_quotient(begin, gemm.row));
    const int last_loads = (row_of(fc_quotient(end - 1, gemm.row)) + (TAP_ROWS - 1) * c.delta[1] + 1 - first_row) * ring.loads.d;
    const offset_t b_first = (offset_t)((group * c.channels + first_channel + thread / AT_ONCE * 8) * c.source_stride[1]);
    const offset_t b_step = (offset_t)c.source_stride[1] * SIZE;
    int loaded = 0; // loads that have been started, of rows from first_row on
    int b_to = -1;
    fc_u32 b_held[8];
    auto fetch_source = [&](int limit) {
        const int here = SIDE_BY_SIDE ? thread : fc_thread_index(); // read anew where registers are scarce
        const int b_chunk = here / AT_ONCE, load = loaded + here % AT_ONCE, row = fc_divided(load, ring.loads);
        const int column = (load - row * (int)ring.loads.d) * SOURCE_VECTOR, line = first_row + row;
        const int plane = fc_divided(line, ring.source_lines), n = DEEP ? (int)fc_quotient(plane, ring.planes) : plane;
        const fc_pixel at = {n, (plane - n * (int)ring.planes.d) * c.step[0] + c.first[0] + tap_d * c.delta[0],
                             line - plane * (int)ring.source_lines.d + c.first[1] + tap_h * c.delta[1],
                             column + c.first[2] - ring.before};
        const bool there = load < limit && b_chunk < CHUNKS;
        const bool inside = there && (!DEEP || (fc_u32)at.d < c.source_size[0]) && (fc_u32)at.h < c.source_size[1] &&
                            (fc_u32)at.w < c.source_size[2];
        const char *from = (const char *)(source + c.source_at + (b_first + (offset_t)fc_offset(at, c.source_stride)));
#pragma unroll
        for (int e = 0; e < 8; e++, from += b_step)
            b_held[e] = fc_load_bits<SOURCE_VECTOR * SIZE>(from, inside && (WHOLE_CHUNKS ? b_left > 0 : e < b_left));
        const int along = SIDE_BY_SIDE ? column : fc_quotient(column, ring.step);
        const int place = along + (SIDE_BY_SIDE ? 0 : (column - along * (int)ring.step.d) * ring.part);
        b_to = there ? b_chunk * ring.plane + in_ring(line) + place : -1;
        loaded = min(loaded + AT_ONCE, limit);
    };
    auto keep_source = [&] {
        uint4 *to = (uint4 *)units + b_to;
#if SOURCE_VECTOR == 1
        if (b_to >= 0) *to = fc_unit(b_held);
#else
        uint4 x[2];
        x[0] = make_uint4(b_held[0] & 0xffff | b_held[1] << 16, b_held[2] & 0xffff | b_held[3] << 16,
                          b_held[4] & 0xffff | b_held[5] << 16, b_held[6] & 0xffff | b_held[7] << 16);
        x[1] = make_uint4(b_held[0] >> 16 | b_held[1] & 0xffff0000u, b_held[2] >> 16 | b_held[3] & 0xffff0000u,
                          b_held[4] >> 16 | b_held[5] & 0xffff0000u, b_held[6] >> 16 | b_held[7] & 0xffff0000u);
        const int b_more = SIDE_BY_SIDE ? 1 : ring.part; // the step is 2
        const bool second = SIDE_BY_SIDE && lane & 4;    // first: eight lanes write to all banks
        if (b_to >= 0) to[second ? b_more : 0] = second ? x[1] : x[0];
        if (b_to >= 0) to[second ? 0 : b_more] = second ? x[0] : x[1];
#endif
    };
    auto loads_to = [&](int row) { return (row - first_row) * (int)ring.loads.d; };
    // What all steps up to this one read.
    auto needed = [&](int step) { return loads_to(rows_of[step % TABLES].y + (TAP_ROWS - 1) * c.delta[1] + 1); };

    // -- fragments
    const int warp_m = warp / WARPS_N, warp_n = warp % WARPS_N;
    const int a_lane = (warp_m * (16 * MT) + lane % 16) * PITCH_A + lane / 16 * 16;
    int shift[TAP_COLUMNS]; // bytes from the first tap to others of its row
#pragma unroll
    for (int s = 0; s < TAP_COLUMNS; s++) {
        if (SIDE_BY_SIDE) {
            shift[s] = s * TAP_DISTANCE * 16;
            continue;
        }
        const int x = s * c.delta[2] + ring.before, along = fc_quotient(x, ring.step);
        shift[s] = ((x - along * (int)ring.step.d) * ring.part + along) * 16;
    }
    unsigned char *of_warp = units + warp_n * (NT / TAPS) * ring.plane * 16;

    for (int i = held_units * CHUNKS + thread; i < ring.plane * CHUNKS; i += THREADS) {
        const int j = i - held_units * CHUNKS, zeros = ring.plane - held_units, chunk = j / zeros;
        ((uint4 *)units)[chunk * ring.plane + held_units + j - chunk * zeros] = make_uint4(0, 0, 0, 0);
    }
    for (int i = 0; i < STAGES && steps > 0; i++) place_pixels(i);
    for (int i = 0; i < STAGES - 1; i++) {
        if (i < steps) {
            open_result(i);
#pragma unroll
            for (int copy = 0; copy < COPIES; copy++) copy_result(shared + i * STAGE_BYTES, copy);
        }
        fc_copy_commit();
    }
    __syncthreads(); // the tables
    while (steps > 0 && loaded < needed(STAGES - 2)) {
        fetch_source(needed(STAGES - 2));
        keep_source();
    }
    float sum[MT][NT][4] = {};
    int from = 0;
#pragma unroll 1
    for (int step = 0; step < steps; step++) {
        fc_copy_wait<STAGES - 2>();
        __syncthreads(); // everyone's rows are there, and nobody reads what is written next
        const unsigned char *stage = shared + from * STAGE_BYTES + a_lane;
        unsigned char *to = shared + (from == 0 ? STAGES - 1 : from - 1) * STAGE_BYTES;
        const int *place = places + step % TABLES * BK + lane % 16;
        fc_u32 x[2][MT][4], y[2][2];
        const unsigned char *row_at[TAP_ROWS]; // of the lane's pixel
        auto load_result = [&](int k, int i) { fc_ldmatrix4(x[k % 2][i], stage + i * 16 * PITCH_A + k * 32); };
        auto find_rows = [&](int k) {
            const fc_u32 at = place[k * 16];
#pragma unroll
            for (int r = 0; r < TAP_ROWS; r++) {
                const fc_u32 moved = at + r * c.delta[1] * ring.pitch;
                row_at[r] = of_warp + min(min(moved, moved - held_units), held_units) * 16;
            }
        };
        auto load_source = [&](int slot) {
            const int j = slot % NT, r = j % TAPS / TAP_COLUMNS, s = j % TAP_COLUMNS;
            fc_ldmatrix2_transposed(y[slot % 2], row_at[r] + shift[s] + j / TAPS * ring.plane * 16);
        };
        find_rows(0);
#pragma unroll
        for (int i = 0; i < MT; i++) load_result(0, i);
        load_source(0);
        const int limit = min(loads_to(rows_of[step % TABLES].x + (int)ring.rows.d), last_loads);
#pragma unroll
        for (int slot = 0; slot < SLOTS; slot++) {
            const int k = slot / NT, j = slot % NT;
            if (k + 1 < STEPS) {
                if (j < MT) load_result(k + 1, j);
                if (j == NT - 1) find_rows(k + 1);
                if (j == NT - 1)
#pragma unroll
                    for (int i = NT; i < MT; i++) load_result(k + 1, i);
            }
            if (slot + 1 < SLOTS) load_source(slot + 1);
            if (slot == 1) open_result(step + STAGES - 1); // behind the last ones: there are none
            if (slot == SLOTS - NT) place_pixels(step + STAGES);
#pragma unroll
            for (int copy = 0; copy < COPIES; copy++)
                if (COPY_SLOT(copy) == slot) copy_result(to, copy);
#pragma unroll
            for (int i = 0; i < GROUPS; i++)
                if (SOURCE_SLOT(i) == slot) {
                    if (i) keep_source();
                    fetch_source(limit);
                }
#pragma unroll
            for (int i = 0; i < MT; i++) fc_mma(sum[i][j], x[k % 2][i], y[slot % 2][0], y[slot % 2][1]);
        }
        if (GROUPS) keep_source();
        while (loaded < needed(step + STAGES - 1)) {
            fetch_source(limit);
            keep_source();
        }
        fc_copy_commit();
        from = from + 1 == STAGES ? 0 : from + 1;
    }
    fc_copy_wait<0>();

    // -- results
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int j = 0; j < NT; j++) {
        const int channel = first_channel + (warp_n * (NT / TAPS) + j / TAPS) * 8 + 2 * t;
        const int h = tap_h + j % TAPS / TAP_COLUMNS, w = j % TAP_COLUMNS;
        const int n = (tap_d * gemm.plane_taps.d + h * TAP_COLUMNS + w) * gemm.inner.d + channel;
#pragma unroll
        for (int i = 0; i < 2 * MT; i++) {
            const int row = first_m + warp_m * (16 * MT) + i * 8 + g;
            if (row >= gemm.rows || channel >= gemm.inner.d) continue;
            const float *z = sum[i / 2][j] + i % 2 * 2;
#if SPLIT
            *(float2 *)((float *)weight +
                        (((long long)(blockIdx.z * c.groups + group) * gemm.rows + row) * gemm.columns + n)) =
                make_float2(z[0], z[1]);
#else
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const fc_column at = {channel + e, tap_d, h, w};
                if (at.channel < c.channels)
                    ((fc_element *)weight)[c.weight_at + group * c.weight_group_stride + row * c.weight_stride[0] +
                                           FC_WEIGHT_AT(at)] = fc_narrow(z[e]);
            }
#endif
        }
    }
}
