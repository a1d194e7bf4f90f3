// The pixels of a gradient one behind the other, whatever the strides of its array: (filter of all groups, pixel),
// filled up with zeros to `gemm.depth_of_split` pixels. A thread takes a pair of pixels of many filters.
#define AT_ONCE 4
extern "C" __global__ void __launch_bounds__(256)
    lay_pixels(const fc_element *__restrict__ result, fc_u32 *to, const __grid_constant__ fc_correlation c,
               const __grid_constant__ fc_gemm gemm) {
    const int pixel = (blockIdx.x * 256 + threadIdx.x) * 2, rows = c.groups * c.filters;
    if (pixel >= gemm.depth_of_split) return;
    const fc_element *from[2];
    for (int i = 0; i < 2; i++)
        from[i] = result + (c.result_at + fc_offset(fc_decode(min(pixel + i, gemm.depth - 1), gemm), c.result_stride));
    for (int first = blockIdx.y * AT_ONCE; first < rows; first += gridDim.y * AT_ONCE) {
        fc_u32 x[AT_ONCE][2];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
#pragma unroll
            for (int e = 0; e < 2; e++)
                x[i][e] = fc_load_bits<SIZE>(from[e] + (first + i) * c.result_stride[1],
                                             first + i < rows && pixel + e < gemm.depth);
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (first + i < rows)
                to[((long long)(first + i) * gemm.depth_of_split + pixel) / 2] = x[i][0] | x[i][1] << 16;
    }
}
