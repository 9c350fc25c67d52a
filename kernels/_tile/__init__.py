"""What the attention kernels in Triton have in common."""
