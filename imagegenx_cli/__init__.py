"""The `imagegenx` command; what its functions raise as ImageGenXError is told in one line, with exit status 1."""
