"""Other ways to sharpen multispectral bands with a panchromatic one: written from the papers, and GDAL's and deepinv's as these offer them.

They know the sensor as it is told; grids are taken to share a corner. Vivone et al., A critical comparison among pansharpening algorithms,
IEEE TGRS 53(5), 2015, describes all but the last three.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
import torch
from deepinv.optim import FISTA, L2, StackedPhysicsDataFidelity
from deepinv.optim.prior import TVPrior
from deepinv.physics import GaussianNoise, Pansharpen, StackedLinearPhysics
from deepinv.utils import TensorList
from rasterio.errors import NotGeoreferencedWarning
from scipy.ndimage import convolve1d, zoom
from scipy.optimize import nnls
from torch import Tensor
from torch.nn import functional as F

import imaging
from imaging.fusion.physics import bundle_margin
from imaging.sensors.mtf import Kernel, line_spread
from scripts.bundles import Bundle
from scripts.rivals.methods import mean_deviation, operator_norm
from scripts.scenes import FULL, Array

TV_WEIGHT = {"joint TV": 0.04, "Pansharpen + TV": 0.01}
"""Weights of total variation, in one over the mean deviation of the coarse bands' noise, by the best mean PSNR on tuning tiles.

That of joint TV is the best of 0.02, 0.03, 0.04 and 0.06 for the nominal sensor up to 0.01 dB (tiles 0 to 3, 5 and 6), and within 0.1 dB of
the best for the others (tiles 0 and 3). That of the other physics is the best of 0.005, 0.01, 0.02, 0.06, 0.15 and 0.3 for the nominal one
(tiles 0 and 3): a smaller one changes nothing.
"""
ITERATIONS = 150


def enlarged(x: Array, ratio: int) -> Array:
    """``(C, h, w)`` interpolated by cubic splines to ``(C, ratio h, ratio w)``; the grids share their corners.

    The methods that begin with it are 0.1 dB better than with Keys' kernel.
    """
    return np.asarray(zoom(x, (1, ratio, ratio), order=3, mode="nearest", grid_mode=True))


def reduced(x: Array, kernel: Kernel, ratio: int) -> Array:
    """``(C, H, W)`` as a coarse band sees it, ``(C, H / ratio, W / ratio)``: filtered along both axes and sampled, see `line_spread`."""
    for axis in (1, 2):
        x = convolve1d(x, kernel, axis, mode="reflect")
    return x[:, ::ratio, ::ratio]


def seen(bundle: Bundle, pan: Array) -> Array:
    """A panchromatic band ``(1, H, W)`` as low as each coarse one, ``(C, h, w)``: filtered by a Gaussian matched to the coarse band's MTF.

    As in the papers the filter makes no difference for the panchromatic band's own blur; one that does costs up to 0.1 dB.
    """
    nyquist = [float(np.mean(band.mtf.nyquist)) for band in bundle.bands[1]]
    return np.concatenate([reduced(pan, line_spread("gaussian", n, bundle.ratio), bundle.ratio) for n in nyquist])


def arrays(bundle: Bundle) -> tuple[Array, Array]:
    """Panchromatic ``(1, H, W)`` and coarse bands ``(C, h, w)``, float64."""
    return bundle.pan[0].double().numpy(), bundle.ms[0].double().numpy()


def bicubic(bundle: Bundle) -> Array:
    """The coarse bands, interpolated."""
    return enlarged(arrays(bundle)[1], bundle.ratio)


def slope(y: Array, x: Array) -> float:
    """Covariance of two images over the variance of the second."""
    return float(((y - y.mean()) * (x - x.mean())).mean() / x.var())


def gsa(bundle: Bundle, restored: Array | None = None) -> Array:
    """Adaptive Gram-Schmidt (Aiazzi et al. 2007): weights of the intensity by regression at low resolution, gains by covariance.

    A ``restored`` panchromatic band ``(1, H, W)`` takes the place of the measured one.
    """
    pan, ms = arrays(bundle)
    pan = pan if restored is None else restored
    low = seen(bundle, pan).mean(0)
    known = np.concatenate([ms, np.ones_like(ms[:1])]).reshape(len(ms) + 1, -1)
    weights = np.linalg.lstsq(known.T, low.ravel(), rcond=None)[0]
    wide = enlarged(ms, bundle.ratio)
    intensity = np.tensordot(weights[:-1], wide, 1) + weights[-1]
    return np.stack([band + slope(band, intensity) * (pan[0] - intensity) for band in wide])


def mtf_glp_cbd(bundle: Bundle) -> Array:
    """Generalised Laplacian pyramid with filters matched to the MTF, one gain for each band (Aiazzi et al. 2006)."""
    pan, ms = arrays(bundle)
    wide, low = (enlarged(x, bundle.ratio) for x in (ms, seen(bundle, pan)))
    return np.stack([band + slope(band, smooth) * (pan[0] - smooth) for band, smooth in zip(wide, low, strict=True)])


def fitted_weights(bundle: Bundle) -> list[float]:
    """Weights, none negative, with which the coarse bands make the panchromatic one as they would have seen it."""
    pan, ms = arrays(bundle)
    return [float(w) for w in nnls(ms.reshape(len(ms), -1).T, seen(bundle, pan).mean(0).ravel())[0]]


def brovey(bundle: Bundle, fitted: bool = False) -> Array:
    """GDAL's weighted Brovey with cubic interpolation, as a virtual raster of the class ``VRTPansharpenedDataset``.

    The weights are equal, GDAL's own ones where none are told, or `fitted_weights`.
    """
    weights = fitted_weights(bundle) if fitted else [1 / bundle.ms.shape[1]] * bundle.ms.shape[1]
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for name, image, pixel in (("pan", bundle.pan[0], 1), ("ms", bundle.ms[0], bundle.ratio)):
            count, height, width = image.shape
            place = rasterio.Affine(pixel, 0, 0, 0, -pixel, 0)
            profile = {"driver": "GTiff", "dtype": "float32", "count": count, "height": height, "width": width, "transform": place}
            with rasterio.open(Path(folder) / f"{name}.tif", "w", **profile) as file:
                file.write(image.numpy())
        height, width = bundle.pan.shape[-2:]
        numbers = range(1, len(weights) + 1)
        bands = "".join(f'<VRTRasterBand dataType="Float32" band="{k}" subClass="VRTPansharpenedRasterBand"/>' for k in numbers)
        sources = "".join(
            f'<SpectralBand dstBand="{k}"><SourceFilename relativeToVRT="1">ms.tif</SourceFilename><SourceBand>{k}</SourceBand>'
            "</SpectralBand>"
            for k in numbers
        )
        path = Path(folder) / "sharpened.vrt"
        path.write_text(
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}" subClass="VRTPansharpenedDataset">{bands}<PansharpeningOptions>'
            "<Algorithm>WeightedBrovey</Algorithm>"
            f"<AlgorithmOptions><Weights>{','.join(map(repr, weights))}</Weights></AlgorithmOptions><Resampling>Cubic</Resampling>"
            '<PanchroBand><SourceFilename relativeToVRT="1">pan.tif</SourceFilename><SourceBand>1</SourceBand></PanchroBand>'
            f"{sources}</PansharpeningOptions></VRTDataset>",
            encoding="utf-8",
        )
        with rasterio.open(path) as file:
            return np.asarray(file.read(), dtype=float)


def restored_gsa(bundle: Bundle) -> Array:
    """The panchromatic band restored alone by the package's pass, then `gsa`."""
    alone = imaging.SensorProfile(bundle.profile.name, bundle.profile.state, bundle.profile.bits, bundle.profile.bands[:1])
    return gsa(bundle, imaging.restore(bundle.pan[0].numpy() * FULL, alone)[0] / FULL)


def _total_variation(y: TensorList, physics: StackedLinearPhysics, start: Tensor, weight: float) -> Tensor:
    """FISTA (deepinv): squared residuals over twice their mean noise variances, and ``weight`` times the total variation of each band."""
    deviations = [mean_deviation(v, p) for v, p in zip(y, physics.physics_list, strict=True)]
    white = StackedPhysicsDataFidelity([L2(sigma=d) for d in deviations])
    norm = sum(operator_norm(p, start.shape) / d**2 for p, d in zip(physics.physics_list, deviations, strict=True))
    model = FISTA(
        data_fidelity=white, prior=TVPrior(def_crit=1e-8, n_it_max=10), lambda_reg=weight, stepsize=1 / norm,
        max_iter=ITERATIONS, custom_init=lambda *_: (start, start),
    )  # fmt: skip
    with torch.no_grad():
        found: Tensor = model(y, physics)
    return found


def joint_tv(bundle: Bundle, weight: float = TV_WEIGHT["joint TV"]) -> Array:
    """Total variation with the told physics of both kinds of bands, from `gsa` on; the margins are unknowns."""
    margin = bundle_margin(bundle.bands[1], bundle.ratio)
    start = F.pad(torch.from_numpy(gsa(bundle)).float()[None], (margin,) * 4, mode="replicate")
    physics = bundle.physics(margin)
    level = weight / mean_deviation(bundle.ms, physics.physics_list[1])
    found = _total_variation(TensorList([bundle.pan, bundle.ms]), physics, start, level)
    return np.asarray(found[0, :, margin:-margin, margin:-margin].double().numpy())


def pansharpen_physics(bundle: Bundle) -> Pansharpen:
    """``deepinv.physics.Pansharpen`` as near to the told sensor as it goes: from scenes to the list of coarse and panchromatic bands.

    It takes one filter for all coarse bands, here the told one of the first, weights of a sum of 1, and white noise; it has no blur of the
    panchromatic band, and scenes end with the measurement.
    """
    size = (bundle.ms.shape[1], *bundle.pan.shape[-2:])
    kernel = torch.from_numpy(bundle.bands[1][0].mtf.psf(bundle.ratio)).float()[None, None]
    told = bundle.physics().physics_list
    noises = [GaussianNoise(mean_deviation(v, p)) for v, p in zip((bundle.ms, bundle.pan), reversed(told), strict=True)]
    srf = tuple(w / sum(bundle.weights) for w in bundle.weights)
    return Pansharpen(size, kernel, bundle.ratio, srf, *noises, padding="reflect")


def pansharpen_tv(bundle: Bundle, weight: float = TV_WEIGHT["Pansharpen + TV"]) -> Array:
    """Total variation with deepinv's own physics, see `pansharpen_physics`, from `gsa` on."""
    start = torch.from_numpy(gsa(bundle)).float()[None]
    physics = pansharpen_physics(bundle)
    level = weight / mean_deviation(bundle.ms, physics.physics_list[0])
    found = _total_variation(TensorList([bundle.ms, bundle.pan]), physics, start, level)
    return np.asarray(found[0].double().numpy())


METHODS: dict[str, Callable[[Bundle], Array]] = {
    "bicubic": bicubic,
    "Brovey": brovey,
    "Brovey, fitted": partial(brovey, fitted=True),
    "GSA": gsa,
    "MTF-GLP-CBD": mtf_glp_cbd,
    "restored PAN + GSA": restored_gsa,
    "Pansharpen + TV": pansharpen_tv,
    "joint TV": joint_tv,
}
"""Sharpened bands ``(C, H, W)`` in image units of a bundle, by name."""
