// The device's view of a convolution problem, one struct that is passed by value; `_gpu/source.py` packs it.
//
// Formula. As on the CPU, all kernels work on one object, a correlation per group:
//
//     result[n, f, p] = sum over c, t of  source[n, c, p*step + first + t*delta] * weight[f, c, t]
//
// Forward is one correlation. An input gradient is one for each stride phase (`_correlation.py`), with the roles of
// input and output exchanged; a weight gradient sums over n and p instead: weight[f, c, t] = sum source * result.
//
// Layout. Strides are in elements and of any sign; 0 is allowed in what is read. Source elements outside of
// [0, source_size) are zeros. Group g has the channels from g*channels on and the filters from g*filters on.
// `source_at`, `weight_at`, `result_at` and `add_at` are elements from the start of the array to the phase's first one.
struct fc_correlation {
    long long source_stride[5], result_stride[5], add_stride[5], weight_stride[5]; // n, channel, d, h, w; weight: f, c
    long long weight_group_stride;
    long long source_at, result_at, add_at, weight_at;
    int batch, groups, channels, filters;
    int pixels[3], taps[3], source_size[3], step[3], first[3], delta[3];
    double slope; // of leaky_relu
};
