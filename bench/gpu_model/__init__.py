"""The subcommand ``gpu-model``: how long kernels would take on a GPU, from their machine code. No GPU, no driver.

    sass.py           cubin -> instructions with their control bits, loops
    chips.py          what devices can do, what pipes an instruction keeps, how long results take
    scheduler.py      one scheduler of a multiprocessor, cycle by cycle
    launches.py       a launch: waves of blocks, bytes, what limits it
    examples.py       the kernels of tests/gpu_kernels on layers
    memory_bound.py   the library's depthwise kernels on layers
    layers.py         implicit_gemm on layers of ResNet-50
    published.py      kernels whose times others have published: the model's error
    command.py        the subcommand

Constants marked (fit) are to be measured on the first GPU at hand; the others are from instruction tables or from the
code itself. What is printed is predicted, not measured; trust rankings that differ by more than 15 %.
"""
