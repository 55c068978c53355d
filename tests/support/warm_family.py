"""Stable Diffusion's code and libraries, loaded as a worker loads them."""

from models.families.loading import family_class

family_class("sd")
