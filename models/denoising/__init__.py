"""Denoising: the steps of requests that share passes, from noise and prompts to pixels."""
