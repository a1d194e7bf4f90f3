/* float32 from 16-bit floats, and back, one number at a time.
 *
 * Numerics: those of IEEE 754, rounded to the nearest, ties to even, subnormal numbers included, whether or not the
 * thread flushes them: no float32 operation here takes or gives a subnormal number that would not round to zero. NaN
 * keeps its sign; float16 also the upper bits of its payload, and is quiet. Narrowed to bfloat16, every NaN becomes the
 * one with an empty payload; widened from it, bits stay as they are.
 *
 * There are no branches, so that the compiler makes vectors of the loops. */

ALWAYS_INLINE float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

ALWAYS_INLINE uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Biases of the exponents: 15 and 127. Subnormal numbers are multiples of 2^-24. */
ALWAYS_INLINE uint32_t float16_to_float32(uint16_t half) {
    const uint32_t magnitude = half & 0x7fff, sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t wide = (magnitude << 13) + ((127 - 15) << 23);
    wide += magnitude >= 0x7c00 ? (127 - 15) << 23 : 0;
    wide |= magnitude > 0x7c00 ? 0x400000 : 0;
    const uint32_t multiple = bits_of_float((float)(int32_t)magnitude * 0x1p-24f);
    return sign | (magnitude < 0x400 ? multiple : wide);
}

/* A number below 2^-14 added to 1/2 is rounded to a multiple of 2^-24. Above, half a unit less one bit, and the last
 * bit that stays, are added to what is cut off; a carry goes to the exponent, where infinity is the most. */
ALWAYS_INLINE uint16_t float32_to_float16(uint32_t bits) {
    const uint32_t magnitude = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
    uint32_t narrow = (magnitude - ((127 - 15) << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
    narrow = narrow < 0x7c00 ? narrow : 0x7c00;
    const uint32_t multiple = bits_of_float(float_of_bits(magnitude) + 0.5f) - (126 << 23);
    narrow = magnitude < (127 - 14) << 23 ? multiple : narrow;
    narrow = magnitude > 0x7f800000 ? 0x7e00 | (magnitude >> 13 & 0x3ff) : narrow;
    return (uint16_t)(sign | narrow);
}

ALWAYS_INLINE uint32_t bfloat16_to_float32(uint16_t half) { return (uint32_t)half << 16; }

ALWAYS_INLINE uint16_t float32_to_bfloat16(uint32_t bits) {
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = (bits >> 16 & 0x8000) | 0x7fc0;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}
