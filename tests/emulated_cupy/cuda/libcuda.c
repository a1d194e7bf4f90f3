// The function of the CUDA driver that is called past CuPy: tensor maps, in the machine's own format, since the
// driver's is not documented. It refuses what the driver does.
#include <stdint.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, MAX_RANK = 5, UINT16 = 1 };

typedef struct { // as machine.h has it
    uint64_t address, kind, dims[5], strides[4];
    uint16_t box[8];
    uint8_t steps[8];
    uint64_t unused[2];
} TensorMap;

// Axes from the innermost on, strides in bytes without the innermost one's. With steps, `box` is an extent of which
// every step-th element is copied.
int cuTensorMapEncodeTiled(void *to, int type, uint32_t rank, void *address, const uint64_t *dims,
                           const uint64_t *strides, const uint32_t *box, const uint32_t *steps, int interleave,
                           int swizzle, int promotion, int fill) {
    static const uint32_t spans[] = {0, 32, 64, 128};
    if ((uintptr_t)to % 64 || (uintptr_t)address % 16 || type != UINT16 || rank < 3 || rank > MAX_RANK || interleave ||
        fill || swizzle < 0 || swizzle > 3 || promotion < 0 || promotion > 3)
        return INVALID_VALUE;
    TensorMap map = {
        (uintptr_t)address, rank | 2 << 8 | (uint64_t)(swizzle ? 4 - swizzle : 0) << 16, {0}, {0}, {0}, {0}, {0}};
    for (uint32_t i = 0; i < rank; i++) {
        if (dims[i] < 1 || dims[i] > (uint64_t)1 << 32 || box[i] < 1 || box[i] > 256 || steps[i] < 1 || steps[i] > 8)
            return INVALID_VALUE;
        map.dims[i] = dims[i];
        map.steps[i] = (uint8_t)(i ? steps[i] : 1); // there are no steps along the innermost axis
        map.box[i] = (uint16_t)((box[i] + map.steps[i] - 1) / map.steps[i]);
    }
    for (uint32_t i = 0; i + 1 < rank; i++) {
        if (strides[i] < 1 || strides[i] % 16 || strides[i] >= (uint64_t)1 << 40) return INVALID_VALUE;
        map.strides[i] = strides[i];
    }
    if (box[0] * 2 % 16 || (swizzle && box[0] * 2 > spans[swizzle])) return INVALID_VALUE;
    memcpy(to, &map, sizeof map);
    return SUCCESS;
}
