"""Continuous batching: requests share denoising steps, whatever their steps, guidance, sampler, seed or mode."""
