"""Parts of a drawing (filled outlines, lines, soft patches of light) and the drawing itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from training.products.geometry import Node, Points, spline

Paint = Literal["main", "cream", "dark", "metal", "wood", "dial"]


@dataclass(frozen=True)
class Part:
    """One painted outline; `tone` runs from -1 (shade) over 0 (own colour) to 1 (light).

    `width` and `soft` are in object units; a `clip`ped part shows only inside the latest
    filled part that is not clipped itself.
    """

    points: Points
    paint: Paint = "main"
    tone: float = 0.0
    width: float = 0.0
    soft: float = 0.0
    gradient: float = 0.0
    cylinder: float = 0.0
    bevel: float = 0.0
    clip: bool = False


@dataclass
class Drawing:
    """The parts of one product, back to front, and how it meets the ground.

    `ground` is (centre x, y, half width) of the contact shadow, None for a flat lay;
    `tilt_deg` bounds the rotation, `flips` allows mirroring.
    """

    tilt_deg: float = 4.0
    flips: bool = False
    ground: tuple[float, float, float] | None = None
    parts: list[Part] = field(default_factory=list)

    def fill(
        self,
        points: Points,
        paint: Paint = "main",
        tone: float = 0.0,
        *,
        gradient: float = 0.25,
        cylinder: float = 0.0,
        bevel: float = 0.0,
        clip: bool = False,
    ) -> None:
        """Add a filled outline."""
        shading = {"gradient": gradient, "cylinder": cylinder, "bevel": bevel}
        self.parts.append(Part(points, paint, tone, clip=clip, **shading))

    def line(
        self,
        nodes: Sequence[Node],
        width: float = 0.05,
        paint: Paint = "main",
        tone: float = -0.85,
        *,
        bevel: float = 0.0,
        clip: bool = False,
    ) -> None:
        """Add a round-capped line through `nodes`."""
        points = spline(*nodes, closed=False)
        self.parts.append(Part(points, paint, tone, width=width, bevel=bevel, clip=clip))

    def glow(self, points: Points, tone: float, soft: float = 0.06) -> None:
        """Add a blurred patch of light (tone > 0) or shade inside the latest fill."""
        self.parts.append(Part(points, tone=tone, soft=soft, clip=True))
