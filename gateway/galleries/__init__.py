"""Catalogs at a web address: an index, and of each its gallery, where people review its pictures."""
