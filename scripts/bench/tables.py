"""Tables in Markdown: the one place that writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

Record = dict[str, Any]
Records = list[Record]
Columns = dict[str, tuple[str, str]]
"""From a record's key to the title and the format of its column."""

FIGURES: Columns = {
    "psnr": ("PSNR (dB)", ".2f"), "ssim": ("SSIM", ".4f"), "lpips": ("LPIPS", ".3f"), "coverage_90": ("90 %", ".3f"),
    "coverage_95": ("95 %", ".3f"), "block_4": ("95 %, 4 x 4", ".3f"), "block_16": ("95 %, 16 x 16", ".3f"),
    "block_64": ("95 %, 64 x 64", ".3f"), "width": ("width of 95 %", ".4f"), "crps": ("CRPS", ".5f"), "correlation": ("correlation", ".2f"),
    "seconds": ("s", ".2f"),
}  # fmt: skip
"""What most benchmarks measure."""


def pick(*keys: str) -> Columns:
    """Some of the figures."""
    return {k: FIGURES[k] for k in keys}


def where(records: Records, **wanted: Any) -> Records:
    """Records with these values."""
    return [r for r in records if all(r.get(k) == v for k, v in wanted.items())]


def table(header: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of texts."""
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|", *(f"| {' | '.join(row)} |" for row in rows)])


def mean(records: Records, key: str) -> Any:
    """Mean of a figure over the records that have it, blocks weighted by their numbers; a text of the first; None where there is none."""
    have = [r for r in records if r.get(key) is not None]
    if not have or isinstance(have[0][key], str):
        return have[0][key] if have else None
    weights = [r.get(key.replace("block", "count"), 1) if key.startswith("block") else r.get("weight", 1) for r in have]
    return np.average([r[key] for r in have], axis=0, weights=weights)


def cell(value: Any, form: str) -> str:
    """A value in its format; a list's values beside each other."""
    if value is None or isinstance(value, str):
        return value or ""
    texts = [format(v, form) for v in np.atleast_1d(value)]
    return " ".join(text if text.strip("-0.%") else format(0.0, form) for text in texts)  # no zero is negative


def grouped(records: Records, by: Mapping[str, str], columns: Columns) -> str:
    """A row of means for each group, in the order of its first record, and a column for each figure that some have.

    ``by`` has the keys that tell groups apart, with their titles.
    """
    groups: dict[tuple[str, ...], Records] = {}
    for r in records:
        groups.setdefault(tuple(str(r[k]) for k in by), []).append(r)
    shown = {k: how for k, how in columns.items() if any(k in r for r in records)}
    rows = [(*group, *(cell(mean(found, k), form) for k, (_, form) in shown.items())) for group, found in groups.items()]
    return table([*by.values(), *(title for title, _ in shown.values())], rows)


def one_table(by: Mapping[str, str], columns: Columns) -> Callable[[Records], dict[str, str]]:
    """The ``tables`` of a benchmark that has one of `grouped` records."""
    return lambda records: {"all": grouped(records, by, columns)}


def crossed(records: Records, rows: str, across: str, title: str, show: tuple[str, str]) -> str:
    """A row for each value of one key, a column for each of another, in each cell one figure: its key and format."""
    key, form = show
    columns, values = (dict.fromkeys(r[k] for r in records) for k in (across, rows))
    cells = [[str(v), *(cell(mean(where(records, **{rows: v, across: c}), key), form) for c in columns)] for v in values]
    return table([title, *map(str, columns)], cells)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of its 95 % confidence interval by Student's t, of values that are independent: one a scene; NaN for one value."""
    found = np.asarray(values, float)
    n = len(found)
    return float(found.mean()), float(stdtrit(n - 1, 0.975) * found.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def with_interval(values: Sequence[float], form: str) -> str:
    """`interval` as text, such as ``+0.70 ± 0.05``; of less than three values without the half-width, which says nothing for two."""
    if not len(values):
        return ""
    middle, half = interval(values)
    return cell(middle, form) + (f" ± {cell(half, form.replace('+', ''))}" if len(values) > 2 else "")


def paired(records: Records, reference: Records, key: str, by: str = "scene") -> list[float]:
    """Differences of a figure to that of a reference on the same scenes; scenes that one of both lacks are left out.

    Parameters
    ----------
    records, reference : list of dict
        Of one method, and of the other, with the same sensor: a scene stands once in each, or its records are averaged.
    key : str
        The figure.
    by : str
        The key that tells scenes apart, such as ``"image"``. A tile and the same tile darkened or squared are of one ground and count as
        one scene (`ground`).

    Notes
    -----
    `interval` of the differences is paired: what scenes are like, which both methods share, drops out of its width. Sensors that see the
    same scenes are no further scenes; they belong into rows of their own.
    """
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for side, some in enumerate((records, reference)):
        for r in some:
            if r.get(key) is not None:
                pairs.setdefault(str(r[by]), ([], []))[side].append(r[key])
    places: dict[str, list[float]] = {}
    for name, (own, other) in pairs.items():
        if own and other:
            places.setdefault(ground(name), []).append(float(np.mean(own) - np.mean(other)))
    return [float(np.mean(v)) for v in places.values()]


def ground(scene: str) -> str:
    """What tells a scene's place: that of a darkened or squared tile is the tile's."""
    kind, _, rest = scene.partition(" ")
    return f"tile {rest}" if kind in {"dark", "linear"} else scene


def by_ground(records: Records, key: str) -> list[float]:
    """A figure's means over the records of each place."""
    places: dict[str, list[float]] = {}
    for r in records:
        if r.get(key) is not None:
            places.setdefault(ground(str(r["scene"])), []).append(float(r[key]))
    return [float(np.mean(v)) for v in places.values()]


def with_intervals(records: Records, by: Iterable[str], *keys: str) -> Records:
    """Records with texts in place of some figures: mean and 95 % confidence interval over the scenes of a group, see `interval`.

    ``by`` has the keys that tell groups apart. What a record lacks it goes on lacking; groups of means over
    scenes are left as they are.
    """
    groups = [{k: r[k] for k in by} for r in records]
    texts: dict[tuple[Any, ...], dict[str, str]] = {}
    for group in groups:
        own = where(records, **group) if tuple(group.values()) not in texts else []
        if own and all("scene" in r for r in own):
            texts[tuple(group.values())] = {k: with_interval(by_ground(own, k), FIGURES[k][1]) for k in keys}
    shown = (texts.get(tuple(group.values()), {}) for group in groups)
    return [r | {k: v for k, v in text.items() if k in r} for r, text in zip(records, shown, strict=True)]
