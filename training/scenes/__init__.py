"""The second generation of the built-in model: its renderer, captions and training.

It replaces the first (the modules above this package, and their products) in the commit that brings its weights. Until
then the shipped weights, the judge and the benchmarks belong to the first.

Renderer: `products` build meshes, `studio` lights and traces them (`tracer`, `bvh`, `filtering`) into layers from which
`developing` makes pictures of any colour before any of the `backdrops`. `shards` keeps pictures, `captions` describes
them, `stages` and `run` train on them. `recognition` asks somebody else's classifier what it sees in them.
"""
