"""Faster ways to run a UNet: what is available here, and how a loaded model gets it."""
