from .correlation import Kernel

class PhasesKernel(Kernel):
    shared_bytes: int
    thread_bytes: int

class RowSplitsKernel(Kernel):
    shared_bytes: int
    thread_bytes: int
