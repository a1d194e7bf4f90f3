/* THE list of ISA levels, lowest first: LEVEL(identifier, test).
 *
 * `test` is an expression for "this CPU and operating system run it"; __builtin_cpu_supports looks at XGETBV too. The
 * flags of each level stand beside the same identifier in setup.py, its register file in isa/<identifier>.h. AMX takes
 * the kernel's permission, which is asked for once and lasts for the process. */
LEVEL(x86_64_v2,
      __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt"))
LEVEL(x86_64_v3, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
LEVEL(x86_64_v4, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl"))
LEVEL(avx512_bf16, __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                       __builtin_cpu_supports("avx512dq"))
LEVEL(amx, tiles_are_usable() && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq"))
