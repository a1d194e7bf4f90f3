"""Where the command ``fastconv`` begins: Ctrl-C ends it without a traceback while the library is still being imported.

Not a part of the package, which imports NumPy before any module of its own.
"""

import signal


def main() -> int:
    """Run the command; its exit status."""
    obeys = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if obeys:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fastconv._cli import run_process

    if obeys:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run_process()
