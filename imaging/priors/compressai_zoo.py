"""Models of compressai's own zoo by name, downloaded only when that is asked for; what to say where compressai is missing."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import urlparse

import torch

from imaging.errors import InputError, did_you_mean
from imaging.names import COMPRESSAI

_ARCHITECTURES = ("bmshj2018-factorized", "mbt2018-mean", "mbt2018", "cheng2020-attn")
_ALPHAS = (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483, 0.0932, 0.18)
"""Weights of the squared error by quality, 1 to 8, as compressai's documentation gives them."""


def without_compressai(what: str, error: ModuleNotFoundError) -> Exception:
    """What to raise where compressai is missing and something needs it; the error itself where another package is missing."""
    if (error.name or "").partition(".")[0] != "compressai":
        return error
    if sys.version_info >= (3, 13):
        return InputError(f"{what} needs the package compressai, which there is for Python 3.12 and older alone")
    return InputError(f"{what} needs the package compressai: pip install 'imaging-restore[compressai]'")


def _address(name: str) -> tuple[str, float]:
    """URL and alpha of ``compressai:ARCHITECTURE-QUALITY``."""
    match = re.fullmatch(r"(.+)-(\d)", name.removeprefix(COMPRESSAI))
    architecture, quality = (match[1], int(match[2])) if match else (name.removeprefix(COMPRESSAI), 0)
    if architecture not in _ARCHITECTURES:
        raise InputError(f"unknown prior {name!r}; {did_you_mean(name, [f'{COMPRESSAI}{a}-QUALITY' for a in _ARCHITECTURES])}")
    try:
        from compressai.zoo.image import model_urls
    except ModuleNotFoundError as error:
        raise without_compressai(f"the prior {name}", error) from error
    urls = model_urls[architecture]["mse"]
    if quality not in urls:
        raise InputError(f"unknown prior {name!r}; {architecture} has the qualities {min(urls)} to {max(urls)}")
    return urls[quality], _ALPHAS[quality - 1]


def cached_file(name: str, *, download: bool = False) -> tuple[Path, float]:
    """File of a model of compressai's zoo, such as ``compressai:mbt2018-mean-8``, in PyTorch's hub folder, and its alpha.

    With ``download`` a file that is not there yet is fetched from compressai's server; the hash in its name is checked. `InputError` for an
    unknown name, a model that is not there and may not be fetched, or a failed download.
    """
    url, alpha = _address(name)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlparse(url).path).name
    if not path.exists():
        if not download:
            raise InputError(f"{name} is not on this machine; allow its download with --download, or put {path.name} into {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        prefix = re.search(r"-([0-9a-f]{8,})\.pth", path.name)
        try:
            torch.hub.download_url_to_file(url, str(path), prefix[1] if prefix else None, progress=False)
        except (OSError, RuntimeError) as error:
            raise InputError(f"{name} could not be downloaded from {url}: {error}") from error
    return path, alpha
