"""Measurements of fastconv: against other libraries, against the machine's peak, and of its own choices.

``python -m bench peers`` compares with the installed peers, ``show`` prints such results again, ``peak`` measures the
share of the multiply-add peak, ``fit`` fits the cost models, ``regret`` judges the choice of algorithms, ``fuzz``
compares random problems with their definition, ``gpu`` measures on a GPU, ``gpu-model`` predicts the time of GPU
kernels; each has ``--help``.

    layers.py       words of the command line -> named problems (shapes/*.txt, the suites of fastconv, problem texts)
    case.py         one problem with its arrays: what every contestant is given
    peers/          one file per library, and the list of them
    timing.py       contestants timed in turn
    machine.py      the roofline, and what the results depend on
    comparison.py   the subcommand ``peers``
    report.py       results -> table, markdown, plot
    costs/          the subcommand ``fit``, what it has measured, and random realistic problems
    fuzz/           the subcommand ``fuzz``
    gpu/            the subcommand ``gpu``
    gpu_model/      the subcommand ``gpu-model``
"""
