"""What is known of one scene of a product."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imaging.raster import Assembly
from imaging.sensors.profile import SensorProfile


@dataclass(frozen=True)
class ProductScene:
    """Bands of one ground sample distance of a product.

    Attributes
    ----------
    product : Path
        Folder of the product.
    name : str
        Of the scene within it: ``PAN``, ``MS``, ``10m``.
    assembly : Assembly
        Its rasters.
    profile : SensorProfile or None
        Its sensor, with the bands of the assembly and what the metadata say of their noise; None for a mission without a profile.
    notes : tuple of str
        What was found and what was assumed, for the user.
    acquired : str or None
        When it was acquired, UTC, in ISO 8601 as the metadata have it; None where they do not tell.
    linear : bool
        Whether stored values are proportional to radiance or reflectance, up to an offset; those for display are stretched band by band.
    """

    product: Path
    name: str
    assembly: Assembly
    profile: SensorProfile | None
    notes: tuple[str, ...]
    acquired: str | None = None
    linear: bool = True

    @property
    def path(self) -> Path:
        """What names the scene as an input: a path below the product, though no file."""
        return self.product / self.name

    def __str__(self) -> str:
        return f"{self.path} ({', '.join(self.assembly.descriptions)})"
