"""Random problems over the whole public surface, compared with definitions in NumPy: ``python -m bench fuzz``.

A problem is a ``Case``, one line of JSON, which says everything about a call: function, sizes, settings, dtype, where
the arrays lie. It is called in every way that must give the same bits (algorithms, thread counts, the call made again,
``out``, packed weights) in a process of its own, so that a crash or a hang is a finding like a wrong number. What is
found is made smaller while it fails in the same way, down to one line that repeats it.

    case.py         Case, and its line of JSON
    ranges.py       how sizes, strides and the like are drawn
    generate.py     seed -> Case; fitting.py cuts it to size
    memory.py       arrays at odd places, with guard zones around them
    values.py       what the arrays hold
    definition.py   convolutions and their gradients, tap by tap
    windows.py      pooling and sliding blocks by their definition
    subject.py      a Case made ready: its call and what is expected of it
    convolutions.py, composed.py, pools.py   Case -> Subject, by kind of function
    closeness.py    how close a result has to be
    device.py       the backend, and arrays on its device
    check.py        a Subject called in all ways, and what is wrong with it
    child.py        the process that checks; workers.py its parent
    shrink.py       finding -> smallest Case and the line that repeats it
    coverage.py     what was exercised
    campaign.py     a run: cases checked side by side
    command.py      the subcommand
"""
