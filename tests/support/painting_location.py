"""The code location, whose runs are forked from a process that has also loaded what paints: ten seconds of a processor.

The code server itself does without, as ever.
"""

import sys

from imagegenx_assets.definitions import defs

if sys.argv[0] == "-c":  # what runs are forked from
    from models.families.loading import family_class

    family_class("sd")

__all__ = ["defs"]
