"""Sizes that all parts of a drawing share, in pixels."""

TEXT_SIZE, SMALL_SIZE = 12.0, 10.0
"""Sizes of the font."""

BOX_HEIGHT = 24.0
"""Height of a node and of a layer."""

MARGIN = 16.0
