"""Model families: each is one module with one class; `models.family_table` names them, loading imports them."""
