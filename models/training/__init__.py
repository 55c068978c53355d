"""Training of the built-in model and its companions on procedurally rendered product pictures.

One command trains everything: ``python -m models.training.run`` (see the model card in ``models/builtin``).
"""
