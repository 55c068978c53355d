"""Benchmarks of speed, memory and quality, run by `imagegenx bench`."""
