"""Training of the built-in model and its companions on procedurally rendered product pictures.

One command trains everything: ``python -m training.run`` (see the model card in ``models/builtin``).

It is not part of the installed package: only benchmarks and tests, run in a checkout, import it.
"""
