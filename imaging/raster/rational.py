"""Rational polynomial coefficients: where ground lies in an image, and what ground an image shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rasterio.rpc import RPC

Values = NDArray[np.float64]

_STEPS = 12
_SHIFT = 1e-4
"""Of normalised coordinates, for derivatives by differences; the polynomials are cubic and smooth."""


def image_of(rpcs: RPC, ground: Values) -> Values:
    """Columns and rows ``(n, 2)``, from the corner of the first pixel, of ``(n, 3)`` degrees east, degrees north and metres."""
    east = (ground[:, 0] - rpcs.long_off + 180) % 360 - 180
    north, up = ground[:, 1] - rpcs.lat_off, ground[:, 2] - rpcs.height_off
    found = _normalised(rpcs, np.stack([east / rpcs.long_scale, north / rpcs.lat_scale, up / rpcs.height_scale], 1))
    return np.asarray(found * (rpcs.samp_scale, rpcs.line_scale) + (rpcs.samp_off + 0.5, rpcs.line_off + 0.5))


def ground_of(rpcs: RPC, image: Values, height: float) -> Values:
    """The inverse of `image_of` at one height, by Newton's method; not finite where it does not arrive at the place asked for."""
    wanted = (image - (rpcs.samp_off + 0.5, rpcs.line_off + 0.5)) / (rpcs.samp_scale, rpcs.line_scale)
    place = np.zeros((len(image), 3))
    place[:, 2] = (height - rpcs.height_off) / rpcs.height_scale
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            missing = wanted - _normalised(rpcs, place)
            slopes = [_normalised(rpcs, place + step) - _normalised(rpcs, place - step) for step in _SHIFT * np.eye(3)[:2]]
            (a, c), (b, d) = (slope.T / (2 * _SHIFT) for slope in slopes)
            east, north = missing.T
            place[:, :2] += np.stack([d * east - b * north, a * north - c * east], 1) / (a * d - b * c)[:, None]
        off = np.abs(wanted - _normalised(rpcs, place)).max(1)
    place[~(off < 1e-9)] = np.nan
    ground = place * (rpcs.long_scale, rpcs.lat_scale, rpcs.height_scale) + (rpcs.long_off, rpcs.lat_off, rpcs.height_off)
    return np.asarray(ground)


def _normalised(rpcs: RPC, ground: Values) -> Values:
    """Both quotients of polynomials, samples and lines, in the order of terms of RPC00B."""
    x, y, z = ground.T
    one = np.ones_like(x)
    terms = np.stack([
        one, x, y, z, x * y, x * z, y * z, x**2, y**2, z**2,
        x * y * z, x**3, x * y**2, x * z**2, x**2 * y, y**3, y * z**2, x**2 * z, y**2 * z, z**3,
    ], 1)  # fmt: skip
    samples = (terms @ np.asarray(rpcs.samp_num_coeff)) / (terms @ np.asarray(rpcs.samp_den_coeff))
    lines = (terms @ np.asarray(rpcs.line_num_coeff)) / (terms @ np.asarray(rpcs.line_den_coeff))
    return np.asarray(np.stack([samples, lines], 1))
