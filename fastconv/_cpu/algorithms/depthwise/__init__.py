"""Groups of one channel or few: depthwise convolutions, channels first and last, and small groups."""
