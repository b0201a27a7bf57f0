"""What `imaging-restore --doctor` looks at: each check tells what it found, and what to do where that is not well."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from imaging.errors import ImagingError, InputError, one_line
from imaging.names import PRECISIONS, SUPERRES_FAMILY
from imaging.releases import check_digest, read_recipe, zoo_folder
from imaging.version import __version__

OK, WARNING, FAILED = "ok", "warning", "failed"
NOT_INSTALLED = "not installed"
REINSTALL = "install the package again, as its README shows"
_LIBRARIES = ("numpy", "torch", "deepinv", "rasterio", "scipy", "skimage", "safetensors")
_DISTRIBUTIONS = {"skimage": "scikit-image"}
_LEAST_MEMORY = 2e9
_LEAST_DISK = 1e9
_OTHER_GDAL = "another GDAL or PROJ may be in the way: unset GDAL_DATA, PROJ_DATA and PROJ_LIB"
_RUNTIME = "pip install 'imaging-restore[superres]'"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is ("ok", "warning", "failed"), what was found, and what to do where that is not well."""

    name: str
    status: str
    message: str
    advice: str = ""


def library(name: str) -> Check:
    """Version of a library that is needed, and whether it can be imported."""
    try:
        version = metadata.version(_DISTRIBUTIONS.get(name, name))
    except metadata.PackageNotFoundError:
        return Check(name, FAILED, NOT_INSTALLED, f"pip install {_DISTRIBUTIONS.get(name, name)}")
    try:
        module = import_module(name)
    except Exception as error:
        return Check(name, FAILED, f"{version} cannot be imported ({type(error).__name__}: {one_line(error)})", _again(name))
    if name == "rasterio":
        version += f", GDAL {module.__gdal_version__}"
    return Check(name, OK, version)


def _again(name: str) -> str:
    return f"pip install --force-reinstall {_DISTRIBUTIONS.get(name, name)}"


def compressai() -> Check:
    """The library of the published families of priors, which is optional."""
    found = library("compressai")
    if found.status == OK:
        return found
    if found.message == NOT_INSTALLED:
        return Check("compressai", OK, f"{NOT_INSTALLED}; only published families of priors need it")
    return Check("compressai", WARNING, f"{found.message}; only published families of priors need it", found.advice)


def onnxruntime() -> Check:
    """The runtime of super-resolution, which is optional."""
    try:
        version = metadata.version("onnxruntime")
    except metadata.PackageNotFoundError:
        try:
            version = metadata.version("onnxruntime-gpu")
        except metadata.PackageNotFoundError:
            return Check("onnxruntime", WARNING, f"{NOT_INSTALLED}; only imaging-superres needs it", _RUNTIME)
    try:
        found = import_module("onnxruntime").get_available_providers()
    except Exception as error:
        return Check("onnxruntime", FAILED, f"{version} cannot be imported ({type(error).__name__}: {one_line(error)})", _RUNTIME)
    return Check("onnxruntime", OK, f"{version}, {', '.join(p.removesuffix('ExecutionProvider') for p in found)}")


def system() -> Check:
    """Operating system and processor."""
    return Check("system", OK, f"{platform.system()} {platform.release()}, {platform.machine()}")


def cores() -> Check:
    """Processor cores that this process may use, and torch's threads."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    text = f"{usable} of {os.cpu_count()} for this process, {threads} thread(s)"
    if threads > usable:
        return Check("cores", WARNING, text, f"more threads than cores slow each other down: set OMP_NUM_THREADS={usable}")
    return Check("cores", OK, text)


def memory() -> Check:
    """Memory that is free, as the kernel or a container's limit has it."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return Check("memory", OK, "not told by this system")
    free = total
    lines = Path("/proc/meminfo")
    if lines.exists():
        found = dict(line.split(":", 1) for line in lines.read_text(encoding="ascii").splitlines() if ":" in line)
        free = int(found.get("MemAvailable", f"{total // 1024} kB").split()[0]) * 1024
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text(encoding="ascii").strip()).isdigit():
        used = Path("/sys/fs/cgroup/memory.current")
        total = min(total, int(text))
        free = min(free, int(text) - (int(used.read_text(encoding="ascii")) if used.exists() else 0))
    message = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    if free < _LEAST_MEMORY:
        return Check("memory", WARNING, message, "a tile of 512 x 512 pixels needs 1.2 GB: close other programs, or give --tile 256")
    return Check("memory", OK, message)


def devices() -> Iterator[Check]:
    """CUDA devices, or why there is none."""
    import torch

    if torch.cuda.is_available():
        for k in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(k)
            yield Check("device", OK, f"cuda:{k} {properties.name}, {properties.total_memory / 1e9:.1f} GB")
        return
    card, build = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None, torch.version.cuda
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not card:
        yield Check(
            "device", OK, f"cpu; no NVIDIA driver is on this machine (torch is built for {f'CUDA {build}' if build else 'the CPU'})"
        )
    elif build is None:
        yield Check(
            "device", WARNING, "cpu; there is an NVIDIA driver, but torch is built for the CPU", "install a CUDA build: pytorch.org"
        )
    elif hidden is not None and not hidden.strip(" -1"):
        yield Check("device", WARNING, f"cpu; CUDA_VISIBLE_DEVICES={hidden!r} hides the GPUs", "unset CUDA_VISIBLE_DEVICES")
    else:
        yield Check(
            "device", WARNING, f"cpu; the NVIDIA driver offers no device to CUDA {build}", "see what nvidia-smi says, and update the driver"
        )


def disk() -> Check:
    """Room in the folder for temporary files."""
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    message = f"{free / 1e9:.1f} GB free in {folder}"
    if free < _LEAST_DISK:
        return Check("disk", WARNING, message, "free some space, or set TMPDIR; scenes also need room beside their outputs")
    return Check("disk", OK, message)


def weights() -> Iterator[Check]:
    """Each released model: all of its files are there, their digests those on record."""
    from imaging.priors import DEFAULT_PRIOR

    zoo = zoo_folder()
    names = {p.name for p in zoo.iterdir() if p.is_dir() and not p.name.startswith(("_", "."))} | _installed_models() | {DEFAULT_PRIOR}
    for name in sorted(names):
        try:
            yield Check(f"model {name}", OK, _state(zoo / name))
        except (ImagingError, OSError) as error:
            yield Check(f"model {name}", FAILED, str(error), REINSTALL)


def _installed_models() -> set[str]:
    """Models that the installation's record names; none in a checkout."""
    try:
        files = metadata.files("imaging-restore") or []
    except metadata.PackageNotFoundError:
        return set()
    return {f.parts[2] for f in files if f.parts[:2] == ("imaging", "models") and f.name == "recipe.toml"}


def _state(folder: Path) -> str:
    """What a model is, after its files were read; an error says what is wrong."""
    from imaging.superres.zoo import model_file

    if not folder.is_dir():
        raise InputError("the model's folder is missing")
    recipe, path = read_recipe(folder), folder / "weights.safetensors"
    if not path.exists():
        raise InputError("weights.safetensors is missing")
    check_digest(path, recipe.under("release").get("sha256", str, ""))
    if recipe.values.get("family") == SUPERRES_FAMILY:
        for precision in PRECISIONS:
            model_file(folder, precision)
    return f"{sum(p.stat().st_size for p in folder.iterdir()) / 1e3:.0f} kB, digests agree"


def geotiff() -> Check:
    """A GeoTIFF with georeference, written and read."""
    from imaging.restoration.selftest import geotiff_difference

    different = geotiff_difference(Path(tempfile.gettempdir()))
    if different is not None:
        return Check("GeoTIFF", FAILED, f"the {different} read differ from those written", _OTHER_GDAL)
    return Check("GeoTIFF", OK, "values and georeference are read as they were written")


def restoration() -> Check:
    """A small simulated scene, restored."""
    from imaging.restoration.selftest import COVERAGE, LEAST_GAIN, restore_simulated

    began = time.monotonic()
    test = restore_simulated()
    message = f"PSNR {test.before:.2f} dB before, {test.after:.2f} dB after; 90 % intervals cover {100 * test.coverage:.0f} %; "
    message += f"{time.monotonic() - began:.1f} s"
    if test.better and test.honest:
        return Check("restoration", OK, message)
    expected = f"at least {LEAST_GAIN:g} dB more, and {100 * COVERAGE[0]:.0f} to {100 * COVERAGE[1]:.0f} %"
    return Check("restoration", FAILED, message, f"expected are {expected}: the libraries compute wrongly here; {REINSTALL}")


def versions() -> Check:
    """The package and Python."""
    return Check("imaging-restore", OK, f"{__version__}, Python {platform.python_version()} in {sys.prefix}")


def all_checks() -> list[tuple[str, Callable[[], Check | Iterator[Check]], str]]:
    """Every check: its name, what it does, and what to do where it cannot be done at all."""
    return [
        ("imaging-restore", versions, REINSTALL),
        *((name, lambda name=name: library(name), REINSTALL) for name in _LIBRARIES),
        ("compressai", compressai, ""),
        ("onnxruntime", onnxruntime, _RUNTIME),
        ("system", system, ""),
        ("cores", cores, REINSTALL),
        ("memory", memory, ""),
        ("device", devices, REINSTALL),
        ("disk", disk, "set TMPDIR to a folder that can be written to"),
        ("models", weights, REINSTALL),
        ("GeoTIFF", geotiff, _OTHER_GDAL),
        ("restoration", restoration, REINSTALL),
    ]
