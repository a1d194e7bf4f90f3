"""float32 as sums of bfloat16 pieces, multiplied by the instructions for those."""
