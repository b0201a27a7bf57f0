"""Running an exported model: ONNX Runtime on arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.errors import InputError, one_line
from imaging.superres.zoo import find_model, model_file

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
"""ONNX Runtime's providers by the name of the device."""


class SuperResolver:
    """A released super-resolution model that runs in 8-bit integers, or in float32.

    Parameters
    ----------
    name : str
        Of the zoo, or a model folder.
    precision : str
        ``"int8"`` or ``"float32"``.
    device : str
        ``"cpu"``, or ``"cuda"`` or ``"tensorrt"`` where ONNX Runtime was installed with them.
    threads : int, optional
        Of the CPU; by default as many as torch uses.

    Attributes
    ----------
    manifest : Manifest
        Bands, factor, margin, range.

    Raises
    ------
    InputError
        For an unknown model, a damaged file, a device that is not there, or without onnxruntime.

    Examples
    --------
    >>> from imaging.superres import SuperResolver
    >>> fine = SuperResolver("quantnas-sat-x2")(scene / 4095.0)  # doctest: +SKIP
    """

    def __init__(self, name: str, precision: str = "int8", device: str = "cpu", threads: int | None = None) -> None:
        path, self.manifest = model_file(find_model(name), precision)
        self.session = session(path, device, threads, integer=precision == "int8")

    def window(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Super-resolve windows ``(B, bands, H, W)``; within the manifest's margin of the border, the result depends on zero padding."""
        found: NDArray[np.float32] = self.session.run(None, {"input": np.ascontiguousarray(x, np.float32)})[0]
        return found

    def __call__(self, scene: NDArray[Any]) -> NDArray[np.float32]:
        """Super-resolve a whole array.

        Parameters
        ----------
        scene : ndarray
            ``(C, H, W)`` or ``(H, W)``, finite, mostly in [0, 1]; a model of one band takes each band by itself.

        Returns
        -------
        ndarray
            Float32, ``(C, factor H, factor W)`` or ``(factor H, factor W)``, not clipped. The scene is repeated beyond its border.

        Raises
        ------
        InputError
            For another shape, number of bands, or values that are not finite.
        """
        if np.asarray(scene).dtype.kind not in "uif":
            raise InputError(f"the scene has type {np.asarray(scene).dtype}; accepted are finite arrays of real numbers")
        values = np.asarray(scene, np.float32)
        if values.ndim not in {2, 3} or values.size == 0 or not np.isfinite(values).all():
            raise InputError(f"the scene has shape {values.shape}; accepted are finite arrays (H, W) or (C, H, W)")
        bands = values.reshape(-1, *values.shape[-2:])
        self.check_bands(len(bands))
        m, f = self.manifest.margin, self.manifest.factor
        padded = np.pad(bands, ((0, 0), (m, m), (m, m)), mode="edge")
        found = self.window(self.batched(padded[None]))[..., f * m : -f * m, f * m : -f * m]
        return found.reshape(*values.shape[:-2], *found.shape[-2:])

    def check_bands(self, count: int) -> None:
        """Refuse a number of bands that the model cannot take."""
        m = self.manifest
        if m.bands not in {1, count}:
            raise InputError(
                f"model {m.name} takes {m.bands} bands, the scene has {count}; choose {m.bands} with --bands, or another --model"
            )

    def batched(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bands of ``(B, C, H, W)`` as items of their own where the model takes one band."""
        return x.reshape(-1, 1, *x.shape[-2:]) if self.manifest.bands == 1 else x


def session(path: Path, device: str = "cpu", threads: int | None = None, *, integer: bool) -> Any:
    """A session of ONNX Runtime on a file; `InputError` without onnxruntime or the device, or for a file that cannot be run.

    The few float convolutions of an integer model are so small that putting them into ONNX Runtime's blocked layout costs more than it
    saves (6 % of quantnas-sat-x2's time); those of a float model need it.
    """
    if device not in PROVIDERS:
        raise InputError(f"device is {device!r}; accepted are {', '.join(PROVIDERS)}")
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("super-resolution needs the package onnxruntime: pip install 'imaging-restore[superres]'") from error
    if PROVIDERS[device] not in onnxruntime.get_available_providers():
        raise InputError(f"the installed ONNX Runtime has no {device} provider; use --device cpu, or install onnxruntime-gpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    providers = list(dict.fromkeys([PROVIDERS[device], PROVIDERS["cpu"]]))
    unwanted = ["NchwcTransformer"] if integer else []
    try:
        return onnxruntime.InferenceSession(path.read_bytes(), options, providers=providers, disabled_optimizers=unwanted)
    except Exception as error:
        raise InputError(f"{path} cannot be run by ONNX Runtime ({one_line(error)})") from error
