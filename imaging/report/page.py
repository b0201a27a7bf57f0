"""The report: one HTML file that explains a restoration, without network, below 15 MB."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import WorkError
from imaging.report.colours import viridis
from imaging.report.encoding import pack
from imaging.report.layers import COLOURS, Job, Survey, Trio, View, band_names, chips, common_names, limits, opened, survey, unit_of
from imaging.report.sections import sections
from imaging.restoration import SceneResult

LARGEST = 15_000_000
"""Bytes of a report, at most."""
INTERVAL = 1.96
"""Half-width of the shown intervals in standard deviations: 95 % of a Gaussian."""
MOST_BANDS = 4
_SHOWN = ("red", "green", "blue", "nir", "pan")


@dataclass(frozen=True)
class Shown:
    """How much of a scene is shown: sides of the overview and of the chips in pixels, and chips of each kind."""

    overview: int
    chip: int
    each: int


_SIZES = (Shown(1536, 256, 3), Shown(1024, 256, 2), Shown(768, 192, 2), Shown(512, 128, 2), Shown(384, 96, 1), Shown(192, 64, 1))


def report(job: Job, result: SceneResult) -> bytes:
    """One HTML file that shows what a restoration did: no network, no other file, below 15 MB.

    Parameters
    ----------
    job, result : Restoration or Fusion, SceneResult
        Of a finished restoration or fusion whose scene is still open, as ``afterwards`` of `imaging.restoration.restore_scene` gets them.

    Returns
    -------
    bytes
        The page. It holds the values of the shown pixels: whole numbers exactly, others to 1/65 534 of their range.

    Raises
    ------
    WorkError
        When even the smallest choice of pixels does not fit.

    Notes
    -----
    A scene of at most 1536 pixels along its sides is shown as it is, a larger one by means of squares of pixels, and by squares at full
    resolution: the least certain, the most changed, and some drawn by chance. Of more than four bands four are shown. Two squares of 192
    pixels are restored anew for the check of the noise model, see `imaging.report.noise_check.Residual`.
    """
    sample = job.scene.sample()
    histograms, stretch = limits(sample, (0.001, 0.999)), limits(sample, (0.01, 0.99))
    with opened(job) as trio:
        text: dict[str, str] = {}
        for allowed in _SIZES:
            found = survey(trio, histograms, allowed.overview, allowed.chip)
            text = text or sections(job, result, trio, found)
            page = _page(job, trio, found, allowed, text, stretch).encode("utf-8")
            if len(page) <= LARGEST:
                return page
    raise WorkError(f"the report of {job.paths.input} does not fit into {LARGEST // 1_000_000} MB; restore fewer bands with --bands")


def shown_bands(names: list[str | None]) -> list[int]:
    """Places of the bands that are shown, at most four: by their common names, those that have one first."""
    ranked = sorted(range(len(names)), key=lambda k: (_SHOWN.index(n) if (n := names[k]) in _SHOWN else len(_SHOWN), k))
    return sorted(ranked[:MOST_BANDS])


def _page(job: Job, trio: Trio, found: Survey, allowed: Shown, text: dict[str, str], stretch: NDArray[np.float64]) -> str:
    common = common_names(job)
    bands = shown_bands(common)
    views = [found.overview] + (chips(trio, found, allowed.each) if found.overview.step > 1 else [])
    names, source = band_names(job), job.scene.source
    data = {
        "bands": [names[k] for k in bands], "colour": _colour([common[k] for k in bands]), "natural": set(COLOURS) <= set(common),
        "unit": unit_of(job), "interval": INTERVAL, "scale": job.scale,
        "scaling": [[source.scales[job.scene.bands[k] - 1] or 1.0, source.offsets[job.scene.bands[k] - 1]] for k in bands],
        "stretch": stretch[bands].tolist(), "viridis": viridis().tolist(), "geo": _georeference(trio),
        "views": [_packed(view, bands) for view in views],
    }  # fmt: skip
    folder = files("imaging.report")
    template, style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js"))
    parts = text | {"style": style, "script": script, "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")}
    if len(job.bands) > len(bands):
        parts["notes"] += f"<li>Of {len(job.bands)} bands these are shown: {escape(', '.join(data['bands']))}.</li>"
    parts["hash"] = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    return re.sub(r"<!--(\w+)-->", lambda found: parts[found[1]], template)  # at once: what a scene says is not looked at again


def _colour(names: list[str | None]) -> list[int] | None:
    """Places, among the shown bands' common names, of red, green and blue; None where there are no three bands."""
    if set(COLOURS) <= set(names):
        return [names.index(n) for n in COLOURS]
    return [0, 1, 2] if len(names) >= 3 else None


def _georeference(trio: Trio) -> dict[str, Any] | None:
    source = trio.restored.source
    if source.crs is None or source.transform.is_identity:
        return None
    return {"transform": list(source.transform)[:6], "crs": source.crs.to_string(), "degrees": bool(source.crs.is_geographic)}


def _packed(view: View, bands: list[int]) -> dict[str, Any]:
    height, width = view.layers["restored"].shape[1:]
    return {
        "name": view.name, "row": view.area.row, "column": view.area.column, "step": view.step, "height": height, "width": width,
        "layers": {name: pack(array[bands]) for name, array in view.layers.items()},
    }  # fmt: skip
