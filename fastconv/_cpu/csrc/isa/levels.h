/* THE list of ISA levels, lowest first: LEVEL(identifier, name, flags, test). setup.py reads it through the compiler,
 * so that the levels are those of the CPU that it compiles for.
 *
 * `name` is what FASTCONV_MAX_ISA and show_runtime() call it. `flags` are those that every room's unit is compiled with
 * at this level: instructions, vector and register tile (TILE_ROWS x TILE_VECTORS vectors of sums); ISA_BASE names the
 * level whose kernels are used by rooms that have none of their own. `test` is an expression for "this CPU and
 * operating system run it"; __builtin_cpu_supports looks at XGETBV too.
 *
 * Tiles: SSE4.2 has 16 registers of 16 bytes and no fused multiply-add, AVX2 16 of 32 bytes: 12 sums, 2 vectors of
 * columns, a broadcast. AVX-512 has 32 of 64 bytes: 28 sums, 2 vectors, broadcasts from memory. The last two multiply
 * bfloat16: AVX512_BF16 with 2 x 7 lines by 2 vectors of filters, AMX with 2 x 16 lines by 2 x 16 filters. AMX takes
 * the kernel's permission, which is asked for once and lasts for the process. NEON has 32 registers of 16 bytes, and is
 * part of every 64-bit ARM. The portable level leaves the compiler's own choice of instructions: any CPU runs it. On
 * x86-64, where all other code needs x86-64-v2 as NumPy does, it is there for tests alone (FASTCONV_PORTABLE=1 at the
 * build defines WITH_PORTABLE). */
#if !defined(__x86_64__) || defined(WITH_PORTABLE)
LEVEL(portable, "portable", "-DVECTOR_BYTES=16 -DTILE_ROWS=6 -DTILE_VECTORS=2", 1)
#endif
#if defined(__aarch64__)
LEVEL(neon, "neon", "-DVECTOR_BYTES=16 -DTILE_ROWS=14 -DTILE_VECTORS=2", 1)
#elif defined(__x86_64__)
LEVEL(x86_64_v2, "x86-64-v2", "-march=x86-64-v2 -DVECTOR_BYTES=16 -DTILE_ROWS=6 -DTILE_VECTORS=2",
      __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))
LEVEL(x86_64_v3, "x86-64-v3", "-march=x86-64-v3 -DVECTOR_BYTES=32 -DTILE_ROWS=6 -DTILE_VECTORS=2",
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
LEVEL(x86_64_v4, "x86-64-v4",
      "-march=x86-64-v4 -mprefer-vector-width=512 -DVECTOR_BYTES=64 -DTILE_ROWS=14 -DTILE_VECTORS=2",
      __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
LEVEL(avx512_bf16, "avx512-bf16",
      "-march=x86-64-v4 -mprefer-vector-width=512 -mavx512bf16 -DISA_BASE=x86_64_v4 -DSPLIT_TILES=tiles_avx512_bf16.h",
      __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl") &&
          __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
          __builtin_cpu_supports("avx512dq"))
LEVEL(amx, "amx",
      "-march=x86-64-v4 -mprefer-vector-width=512 -mamx-tile -mamx-bf16 -DISA_BASE=x86_64_v4 "
      "-DSPLIT_TILES=tiles_amx.h",
      tiles_are_usable() && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq"))
#endif
