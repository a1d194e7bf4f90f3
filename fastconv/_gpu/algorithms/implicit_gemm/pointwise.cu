// Weight gradients of kernels of one tap without padding, on the FMA units, in strict float32 or float64: any steps,
// strides and groups.
//
// dw[filter][channel] = sum over pixels (n, d, h, w) of dy[filter][pixel] x[channel][pixel]. A thread copies one pixel
// of a step, of every ROW_STEP-th filter and channel, and so decodes one: no tables, a constant distance from copy to
// copy. A warp has eight pixels of four rows, whose places are in different banks. FLAT: an image's pixels are one axis.
//
// Numerics, preconditions: see kernels.cu.
#define ROW_STEP (THREADS / BK)

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    weight_gradient(const real *__restrict__ source, const real *__restrict__ result, real *weight,
                    const __grid_constant__ fc_correlation c, const __grid_constant__ fc_gemm gemm) {
    __shared__ __align__(16) real tiles[STAGES * STAGE];
    __shared__ offset_t weight_at[BN];
    const fc_block block = fc_this_block(gemm);
    const int begin = block.split * gemm.depth_of_split, end = min(begin + gemm.depth_of_split, gemm.depth);
    const int steps = (end - begin + BK - 1) / BK;
    for (int i = threadIdx.x; i < BN; i += THREADS)
        weight_at[i] = SPLIT ? block.first_n + i : (offset_t)((block.first_n + i) * c.weight_stride[1]);

    const int eight = threadIdx.x / 8, k = eight / 4 % (BK / 8) * 8 + threadIdx.x % 8;
    const int lane_row = eight / (BK / 2) * 4 + eight % 4;
    const int a_row = block.first_m + lane_row, b_row = block.first_n + lane_row;
    const int a_rows = gemm.rows - a_row, b_rows = gemm.columns - b_row; // from the thread's first ones on
    const real *a_from = result + (c.result_at + (block.group * c.filters + a_row) * c.result_stride[1]);
    const real *b_from = source + (c.source_at + (block.group * c.channels + b_row) * c.source_stride[1]);
    const offset_t a_step = (offset_t)c.result_stride[1] * ROW_STEP, b_step = (offset_t)c.source_stride[1] * ROW_STEP;
    int pixel = begin + k;

    bool inside = false;
    const real *a = a_from, *b = b_from; // of the next copies
    real *to = tiles;
    auto fetch = [&](real *stage) {
        inside = pixel < end;
        const int known = inside ? pixel : begin;
        fc_pixel at = {0, 0, 0, 0};
        if (FLAT) {
            at.n = fc_quotient(known, gemm.image);
            at.w = known - at.n * (int)gemm.image.d;
        } else
            at = fc_decode(known, gemm);
        const fc_pixel from = {at.n, at.d * c.step[0] + c.first[0], at.h * c.step[1] + c.first[1],
                               at.w * c.step[2] + c.first[2]};
        a = a_from + (offset_t)fc_offset(at, c.result_stride);
        b = b_from + (offset_t)fc_offset(from, c.source_stride);
        to = stage + k * PITCH_A + lane_row;
        pixel += BK;
    };
    const int copies_a = BM / ROW_STEP, copies = copies_a + BN / ROW_STEP, bytes = sizeof(real);
    auto copy = [&](int part) { // of BK
#pragma unroll
        for (int i = part * copies / BK; i < (part + 1) * copies / BK; i++)
            if (i < copies_a) {
                fc_copy_async<bytes>(to + i * ROW_STEP, a, inside && (WHOLE_ROWS || i * ROW_STEP < a_rows) ? bytes : 0);
                a += a_step;
            } else {
                const int row = (i - copies_a) * ROW_STEP;
                fc_copy_async<bytes>(to + BK * PITCH_A + k * (PITCH_B - PITCH_A) + row, b,
                                     inside && (WHOLE_COLUMNS || row < b_rows) ? bytes : 0);
                b += b_step;
            }
    };

    real sum[TM][TN];
#pragma unroll
    for (int i = 0; i < TM; i++)
#pragma unroll
        for (int j = 0; j < TN; j++) sum[i][j] = 0;
    const int row = fc_thread_row(), column = fc_thread_column();
    fc_run<false>(steps, [] { return 0; }, [] {}, fetch, copy, tiles, row, column, sum);

    const fc_block again = fc_this_block(gemm);
    const int first_row = again.first_m + row;
    fc_place place = {weight, weight_at + column, (offset_t)c.weight_stride[0], 0, 0, 0, 0, 0};
    if (SPLIT) { // (split, group, row, column)
        place.stride = gemm.columns;
        place.to += (long long)(again.split * c.groups + again.group) * gemm.rows * gemm.columns;
    } else
        place.to += c.weight_at + again.group * c.weight_group_stride;
    place.to += first_row * place.stride;
    fc_store(sum, place, gemm.rows - first_row, gemm.columns - again.first_n - column);
}
