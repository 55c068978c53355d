"""Model families: the table names them, each is one module with one class, loading imports it."""
