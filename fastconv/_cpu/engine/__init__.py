"""What all compiled algorithms share: ISA level, threads, correlations, calls and memory."""
