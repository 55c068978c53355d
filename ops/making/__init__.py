"""Making pictures for catalogs: jobs go in, outcomes come out, whoever computes."""

from ops.making.maker import PictureMaker
from ops.making.wanted import Wanted, made_rows

__all__ = ["PictureMaker", "Wanted", "made_rows"]
