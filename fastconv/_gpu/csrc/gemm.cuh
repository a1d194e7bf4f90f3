// A convolution as a product of matrices: what kernels of implicit GEMM know about it beside fc_correlation.
//
// Forward and input gradients: M = result channels, N = pixels (n, d, h, w), reduction = (tap, channel). Weight
// gradients: M = filters, N = (channel, tap) or (tap, channel), reduction = pixels.
struct fc_gemm {
    fc_divider filter_tiles;         // tiles along M
    fc_divider image, plane, row;    // pixels of an image, of its plane, of its row
    fc_divider inner;                // weight gradients: the size of the inner one of (channel, tap)
    fc_divider plane_taps, row_taps; // taps of a plane, of a row
    fc_divider channel_blocks;       // steps of a tap
    fc_divider group_rows;           // M
    int rows, columns;               // M and N of a group
    int depth, depth_of_split;       // weight gradients: pixels; else steps of the reduction
    int splits;
    int padded_channels, padded_filters; // of packed weights
};

struct fc_pixel {
    int n, d, h, w;
};
static __device__ __forceinline__ fc_pixel fc_decode(int pixel, const fc_gemm &gemm) {
    fc_pixel at;
    at.n = fc_quotient(pixel, gemm.image);
    pixel -= at.n * gemm.image.d;
    at.d = fc_quotient(pixel, gemm.plane);
    pixel -= at.d * gemm.plane.d;
    at.h = fc_quotient(pixel, gemm.row);
    at.w = pixel - at.h * gemm.row.d;
    return at;
}
static __device__ __forceinline__ int fc_column_number(const fc_pixel &at, const fc_gemm &gemm) {
    return at.n * gemm.image.d + at.d * gemm.plane.d + at.h * gemm.row.d + at.w;
}
static __device__ __forceinline__ long long fc_offset(const fc_pixel &at, const long long (&stride)[5]) {
    return at.n * stride[0] + at.d * stride[2] + at.h * stride[3] + at.w * stride[4];
}

// A column of a weight gradient: its channel and tap, and where its weight lies. TAPS_INSIDE: the taps of a channel are
// neighbours; else the channels of a tap.
#ifndef TAPS_INSIDE
#define TAPS_INSIDE 0
#endif
struct fc_column {
    int channel, d, h, w;
};
static __device__ __forceinline__ fc_column fc_column_of(int n, const fc_gemm &gemm) {
    const int outer = fc_quotient(n, gemm.inner), inner = n - outer * gemm.inner.d;
    int tap = TAPS_INSIDE ? inner : outer;
    fc_column at;
    at.channel = TAPS_INSIDE ? outer : inner;
    at.d = fc_quotient(tap, gemm.plane_taps);
    tap -= at.d * gemm.plane_taps.d;
    at.h = fc_quotient(tap, gemm.row_taps);
    at.w = tap - at.h * gemm.row_taps.d;
    return at;
}
#define FC_WEIGHT_AT(at)                                                                                               \
    (at.channel * c.weight_stride[1] + at.d * c.weight_stride[2] + at.h * c.weight_stride[3] +                         \
     at.w * c.weight_stride[4])
