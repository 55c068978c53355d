"""Image sets and tables on their way to and from the object store."""
