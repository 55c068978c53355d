"""Which files are catalogs, by their endings, and how large they may be."""

from pathlib import Path

MAX_BYTES = {
    ".csv": 256 * 2**20,
    ".tsv": 256 * 2**20,
    ".jsonl": 64 * 2**20,
    ".xlsx": 64 * 2**20,
    ".yaml": 64 * 2**20,
    ".yml": 64 * 2**20,
}
"""The largest catalog file, in bytes, by its ending."""
TABLES = (".csv", ".tsv", ".jsonl", ".xlsx")
"""Endings of catalogs that are tables, and of tables that catalogs are made from."""
OTHER_TABLES = (".xls", ".xlsm", ".ods", ".numbers", ".parquet", ".json", ".ndjson")
"""What people take for catalogs: one has to be saved in another form first."""


def size_rule(path: Path, size_bytes: int) -> str:
    """The rule that a catalog file of this size breaks, or ""; one of another ending breaks another rule."""
    limit = MAX_BYTES.get(path.suffix.lower(), size_bytes)
    return f"{size_bytes:,} bytes are above the maximum of {limit:,} for {path.suffix}" if size_bytes > limit else ""
