"""The numbers of rows that passes may have."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BatchSizes:
    """The numbers of rows that passes may have, so that compiled graphs are used again; none given means any.

    Attributes:
        multiple: of which the rows of any other pass are one.
        apart: each request has passes of its own, so that no company can change its picture.
    """

    sizes: tuple[int, ...] = ()
    multiple: int = 1
    apart: bool = False

    def padded(self, rows: int) -> int:
        """The smallest size that holds `rows`; beyond the largest, the next multiple of it."""
        if not self.sizes:
            return -(-rows // self.multiple) * self.multiple
        largest = max(self.sizes)
        return min((size for size in self.sizes if size >= rows), default=-(-rows // largest) * largest)
