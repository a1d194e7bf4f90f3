// The machine that runs PTX: a warp at a time, every instruction on 32 lanes at once.
//
// A register is a row of 32 lanes, of 4 or 8 bytes each; a predicate is a row of 0 and ~0. Of a value narrower than its
// lane the bits above it mean nothing. A warp that has to wait returns; its registers stay where they are, so there are
// no fibers. Lanes that took different ways are run lowest address first and join where their addresses meet.
//
//   memory.h memory.c   where an access goes: bounds, alignment, races in shared memory; sectors and wavefronts counted
//   copies.c            cp.async
//   barriers.c          mbarrier and the tensor copy unit
//   wgmma.c mma.c       matrix products of four warps, of one warp
//   collectives.c       shuffles, votes, ldmatrix, reductions of a warp
//   atomics.c           atom and red
//   arithmetic.inc      what one lane computes by itself; numbers.h: the number formats
//   warp.c              the execution of a warp; block.c: of a block and of a launch
#ifndef PTX_MACHINE_H
#define PTX_MACHINE_H
#include <setjmp.h>
#include <stdint.h>

typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

enum { LANES = 32, ALL_LANES = -1, MAX_PRODUCTS = 64, MAX_BULK = 256, BARRIERS = 16 };

// Address spaces, and the windows of generic addresses: the space is the byte on top.
enum { GENERIC, SHARED, LOCAL, PARAM, GLOBAL };
#define WINDOW(address) ((address) >> 56)
#define IN_WINDOW(address) ((address) & ((1ull << 56) - 1))

typedef struct { // mirrored in layout.py
    u32 op;
    s32 guard;     // row of the predicate, or -1
    u32 negated;   // the guard
    s32 target;    // of a branch
    const s32 *r;  // rows of the operands, result first
    s64 immediate; // offset of an address, or what the operation says
    u32 size;      // bytes of an access
    u32 count;
    u32 narrow; // bit i: address operand r[i] is a row of 32-bit values
    u32 line;   // of the PTX
} Instruction;

typedef struct {
    u64 begin, end;
} Range;

enum { SPECIAL_REGISTERS = 24 }; // rows of %tid.x and so on, as SPECIAL in operation.py lists them

typedef struct { // mirrored in kernel.py
    const Instruction *code;
    s64 length;
    s64 row_bytes; // of a warp's registers; the first `constant_bytes` are filled at its start
    const void *constants;
    s64 constant_bytes;
    s32 special[SPECIAL_REGISTERS]; // -1: not used
    s64 static_shared, dynamic_shared, local_bytes;
    const void *params;
    s64 param_bytes;
    u32 grid[3], block[3];
    const Range *ranges; // what may be accessed of global memory, in ascending order
    s64 range_count;
    u64 seed; // not 0: warps run in a random order
    s32 check_races, flush_subnormals;
    s32 mark_shift, unused; // the smallest access to shared memory is of 1 << mark_shift bytes
    u64 *executed, *lanes, *moved,
        *least,    // by instruction; moved: sectors or wavefronts, and the fewest there could be
        *touched;  // sectors that the block had not touched before
    u64 *in_range; // such sectors, by range
    char *message;
    s64 first_block, block_step;
} Launch;

typedef struct {
    u32 to;
    u64 from;
    u32 bytes, valid;
    s64 group;
    int lane;
} Copy;

typedef struct {
    s64 pc;
    u32 mask;
    int parked; // at a collective
} Split;

typedef struct { // who touched some bytes of shared memory last
    u32 epoch, warp_epoch;
    uint16_t thread;
    unsigned char kind; // 0: nobody, 1: one thread, 2: several of a warp, 3: several warps
    unsigned char atomic, flying;
} Mark;

typedef struct {
    const Instruction *in;
    u64 a, b;
    u32 accumulate;
    s64 group, number;
} Product; // a wgmma that is not computed yet

typedef struct { // sectors of global memory that a block has touched; `block` is the number of the last one + 1
    struct {
        u64 sector, block;
    } *entries;
    u64 size, used; // size: a power of two
} Touched;

enum { RUNNABLE, AT_BARRIER, FINISHED };

typedef struct {
    unsigned char *rows, *local;
    s64 pc;
    u32 mask, live;
    Split splits[LANES + 1];
    int split_count, state, index;
    int barrier, barrier_warps;  // where it waits, and for how many warps; 0: all
    const Instruction *reducing; // the bar.red that it waits at
    int votes;                   // its lanes whose predicate holds
    u32 epoch;                   // of the warp's own barriers and collectives
    s64 group[LANES];
    Copy *copies;
    int copy_count, copy_room;
    Product product[MAX_PRODUCTS];
    int product_count;
    s64 product_group, issued;
} Warp;

// A tensor map as cuda/libcuda.c writes it: the driver's own format is not documented.
typedef struct {
    u64 address, kind, dims[5], strides[4]; // kind: rank | size << 8 | swizzle << 16
    uint16_t box[8];                        // elements that are copied, `steps` apart
    uint8_t steps[8];
    u64 unused[2];
} TensorMap;

typedef struct {
    const TensorMap *map;
    u32 to, barrier;
    s32 at[5];
} Bulk;

typedef struct {
    const Launch *l;
    Warp *w; // the one that runs
    Warp *warps;
    int warp_count;
    u32 block[3], epoch; // epoch: barriers that all warps have passed
    unsigned char *shared;
    s64 shared_bytes;
    Mark *writes, *reads;
    Range hit; // the last range that was found
    s64 hit_number;
    u64 random;
    s64 at;                // instruction
    int arrived[BARRIERS]; // warps that do not wait
    Bulk bulk[MAX_BULK];   // copies of the tensor unit that have not landed
    int bulk_count;
    s64 idle; // polls of barriers in vain, since something moved
    Touched touched;
    u64 block_number;
    jmp_buf escape;
} Machine;

// The operands of the instruction `in` of the warp `w`.
#define ROW(T, i) ((T *)(w->rows + in->r[i]))
#define ADDRESS(i, lane) (in->narrow >> (i) & 1 ? (u64)ROW(u32, i)[lane] : ROW(u64, i)[lane])
#define EACH_LANE(lane)                                                                                                \
    for (int lane = 0; lane < LANES; lane++)                                                                           \
        if (mask >> lane & 1)

// Ends the launch; the message goes to the caller.
void fail(Machine *m, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

// warp.c
void run_warp(Machine *m, Warp *w);
// Whether the lanes that are here are all that `wanted` asks for; if not, they are parked and others go on.
int all_here(Machine *m, Warp *w, u32 wanted, const char *what);
u32 predicate_bits(const unsigned char *rows, s32 row);

// Operations of more than one lane's own registers: `mask` are the lanes that take part.
#define EXECUTES(name) void name(Machine *m, Warp *w, const Instruction *in, u32 mask)
// copies.c
EXECUTES(copy_async);
void land_copies(Machine *m, Warp *w, u32 mask, s64 pending);
// barriers.c
EXECUTES(barrier_init);
EXECUTES(barrier_arrive);
EXECUTES(barrier_expect);
EXECUTES(bulk_tensor);
int barrier_test(Machine *m, Warp *w, const Instruction *in, u32 mask); // 0: some lane would wait
u32 swizzled(u32 address, u32 mode);
// wgmma.c
void issue_product(Machine *m, Warp *w, const Instruction *in);
int land_products(Machine *m, Warp *w, s64 pending); // 0: other warps have to catch up first
// mma.c
enum { BF16, F16, TF32, S8, U8 };
float element16(u32 value, int kind);
void multiply(Warp *w, const Instruction *in);
void multiply_integers(Warp *w, const Instruction *in);
void multiply_double(Warp *w, const Instruction *in);
// collectives.c
EXECUTES(shuffle);
EXECUTES(vote);
EXECUTES(match_any);
EXECUTES(reduce);
EXECUTES(load_matrix);
EXECUTES(store_matrix);
// atomics.c
EXECUTES(atomic);
#undef EXECUTES
#endif
