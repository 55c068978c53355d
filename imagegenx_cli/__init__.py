"""The `imagegenx` command."""
