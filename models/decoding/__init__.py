"""Picture files from outside become pixels: in bounded time and memory, in processes that serve nobody else."""
