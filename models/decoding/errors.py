"""The error of files that are no pictures, or none that may be decoded."""


class UnreadableError(ValueError):
    """A file cannot be decoded; the text goes on after the file's name, like `cannot be read: it is damaged.`"""
