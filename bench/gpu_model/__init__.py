"""The subcommand ``gpu-model``: how long kernels would take on a GPU, from their machine code. No GPU, no driver.

    sass.py        cubin -> instructions with their control bits and the PTX they come from; loops
    trace.py       some blocks of a launch, run on the machine for PTX: executions, sectors, conflicts, by line of PTX
    regions.py     how often machine code is executed, by these counts
    chips.py       what devices can do, what pipes an instruction keeps, how long results take
    scheduler.py   one scheduler of a multiprocessor, cycle by cycle; the loop is scheduler.c
    launches.py    a launch: waves of blocks, bytes, what limits it
    library.py     products of cuBLAS: a share of the peak; transforms of cuFFT: bytes
    plans.py       a problem: the cost model's choice, every launch of it, the ceilings
    ranking.py     whether the cost model ranks candidates as the predictions do
    summary.py     sets of layers and what is asked of them
    examples.py    kernels of tests/gpu_kernels
    published.py   what others have measured: the model's error, how far cuDNN is
    command.py     the subcommand
    stand_in.py    what is taken of the tests

Nothing is said of a kernel by hand: a room that is new needs no line here. Launches are described by the library
itself; loops run as often as the counts say.

Constants marked (fit) are to be measured on the first GPU at hand; the others are from instruction tables or from the
code itself. What is printed is predicted, not measured; trust rankings that differ by more than 15 %.
"""
