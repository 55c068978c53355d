"""What is checked of a catalog's pictures: pure functions over image sets, each with one `Outcome`.

Manifests are checked row by row, all of them; pictures are opened for a sample (`sample_rows`), one at a time.
"""
