"""The life of what is stored: what may go (`collect_garbage`), and whether what must stay is whole (`verify_store`)."""
