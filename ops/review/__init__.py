"""Review: what people say of a catalog's pictures, and what follows from it."""
