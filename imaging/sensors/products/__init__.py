"""Products as they are delivered: which rasters, bands, sensor and noise their metadata name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imaging.lazy import on_first_use

if TYPE_CHECKING:
    from imaging.sensors.products.finding import find_scene, product_scenes
    from imaging.sensors.products.recognition import is_open, is_product
    from imaging.sensors.products.scene import ProductScene
else:
    _modules = {
        "imaging.sensors.products.finding": "find_scene product_scenes",
        "imaging.sensors.products.recognition": "is_open is_product",
        "imaging.sensors.products.scene": "ProductScene",
    }
    __getattr__, __dir__ = on_first_use(__name__, _modules)

__all__ = ["ProductScene", "find_scene", "is_open", "is_product", "product_scenes"]
