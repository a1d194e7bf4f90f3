"""The subcommand ``gpu``: fastconv on CuPy arrays beside torch, cuBLAS and the device's ceilings, and what it assumes.

    matrix.py        what is measured, in which order: layers x levels x layouts x passes
    device.py        CuPy or its stand-in, torch, and what results depend on
    clock.py         events on one stream, a flushed L2, graphs of short calls
    arrays.py        random operands on the device
    contestants.py   fastconv, torch and cuBLAS, ready to compute a case
    pooling.py       the same of pooling: cases, checks, contestants
    check.py         a part of a result against the definition
    ceilings.py      what products of matrices and copies reach here
    rows.py          one row of the results
    summary.py       geometric means per set, beside their targets
    calibration.py   ``--calibrate-model``: what bench/gpu_model assumes, measured
    overhead.py      what Python takes of a repeated call (``python -m bench calls --backend gpu``)
    command.py       the subcommand

Without a GPU all of it runs on the stand-in for CuPy (``--emulated``), but for torch: then times mean nothing.
"""
