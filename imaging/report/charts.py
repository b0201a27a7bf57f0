"""Line charts as SVG whose colours the page's style sheet chooses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 42


@dataclass(frozen=True)
class Line:
    """A curve, interrupted where a value of ``x`` or ``y`` is not finite, with a label for the legend.

    ``style`` is a class of the style sheet: ``before``, ``after``, ``model`` or ``other``. ``points`` marks the values.
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    style: str
    points: bool = False


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from low to high."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def chart(title: str, lines: list[Line], x_label: str, y_label: str, *, log: bool = False) -> str:
    """A chart, with a sentence as title for screen readers and units in the labels of its axes.

    ``log`` makes the vertical axis logarithmic; values not above 0 then interrupt a curve.
    """
    drawn = [(line, np.log10(np.where(line.y > 0, line.y, np.nan)) if log else line.y) for line in lines]
    x_low, x_high = _range([line.x for line, _ in drawn])
    y_low, y_high = _range([y for _, y in drawn])
    y_low = y_low if log else min(y_low, 0.0)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        return across, _HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in ticks(x_low, x_high):
        at, base = place(tick, y_low)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{base:.1f}"/>')
        parts.append(f'<text x="{at:.1f}" y="{base + 15:.1f}" text-anchor="middle">{tick:g}</text>')
    for tick in _levels(y_low, y_high, log):
        left, at = place(x_low, tick)
        label = _power(tick) if log else f"{tick:g}"
        parts.append(f'<line class="grid" x1="{left:.1f}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{left - 5:.1f}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    for line, y in drawn:
        parts += _curve(line, [place(float(a), float(b)) for a, b in zip(line.x, y, strict=True)])
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<text transform="translate(13 {_HEIGHT / 2 - 12:.0f}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text></svg>')
    legend = "".join(f'<li><span class="key {line.style}"></span>{escape(line.label)}</li>' for line in lines)
    return f'<figure>{"".join(parts)}<ul class="legend">{legend}</ul></figure>'


def _power(y: float) -> str:
    """Ten to the y, for people."""
    if abs(y - round(y)) < 1e-9 and not -3 < y < 4:
        return "10" + str(round(y)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{10**y:g}"


def _levels(low: float, high: float, log: bool) -> list[float]:
    """Where the vertical axis is labelled; whole powers of ten where it is logarithmic and spans two."""
    if log and high - low >= 2:
        step = max(1, round((high - low) / 5))
        return [float(k) for k in range(math.ceil(low), math.floor(high) + 1, step)]
    if log:
        steps = [math.log10(m) + k for k in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
        return [y for y in steps if low - 1e-9 <= y <= high + 1e-9]
    return ticks(low, high)


def _range(arrays: list[NDArray[np.float64]]) -> tuple[float, float]:
    known = np.concatenate([a[np.isfinite(a)] for a in arrays])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return (low, high) if high > low else (low, low + 1.0)


def _curve(line: Line, places: list[tuple[float, float]]) -> list[str]:
    """Elements of a curve: its runs of finite values, and marks."""
    runs: list[list[str]] = [[]]
    for x, y in places:
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append(f"{x:.1f},{y:.1f}")
        elif runs[-1]:
            runs.append([])
    parts = [f'<polyline class="curve {line.style}" points="{" ".join(run)}"/>' for run in runs if len(run) > 1]
    if line.points:
        finite = [(x, y) for x, y in places if math.isfinite(x) and math.isfinite(y)]
        parts += [f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in finite]
    return parts
