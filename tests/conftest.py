"""What every test shares."""

from hypothesis import settings

# Examples are the same in every run, and a busy machine fails none: speed is for the benchmarks.
settings.register_profile("imagegenx", deadline=None, derandomize=True)
settings.load_profile("imagegenx")
