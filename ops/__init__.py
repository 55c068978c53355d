"""The ops that the assets and the on-demand job are made of."""
