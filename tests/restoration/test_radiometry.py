"""Stored values, image units and what a sensor says of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imaging.errors import InputError
from imaging.restoration.radiometry import Radiometry, check_signal, stored_range
from imaging.sensors import Noise, load_profile


def test_stored_values_go_to_image_units_and_back() -> None:
    radiometry = Radiometry(np.array([0.0, 1000.0]), 4095.0)
    values = np.array([[[0.0, 4095.0, 17.0]], [[1000.0, 5095.0, 1.0]]])
    image = radiometry.to_image(values)
    np.testing.assert_allclose(image[:, 0, :2], [[0, 1], [0, 1]])
    np.testing.assert_array_equal(np.rint(radiometry.to_stored(image)), values)


def test_every_12_bit_value_survives_the_round_trip() -> None:
    radiometry, values = Radiometry(np.zeros(1), 4095.0), np.arange(4096.0).reshape(1, 64, 64)
    np.testing.assert_array_equal(np.rint(radiometry.to_stored(radiometry.to_image(values))), values)


@pytest.mark.parametrize(
    ("sensor", "dtype", "brightest", "noise", "full_scale"),
    [
        ("pleiades-raw", "uint16", 3000.0, "profile", 4095.0),
        ("pleiades-raw", "uint8", 200.0, (2.0, 0.0), 255.0),
        ("pleiades-raw", "float32", 3000.0, "profile", 4095.0),
        ("pleiades-raw", "float32", 0.9, (0.002, 0.0), 1.0),
        ("generic", "uint8", 200.0, "profile", 255.0),
        ("generic", "uint16", 60_000.0, "profile", 65535.0),
        ("generic", "float32", 0.9, "profile", 1.0),
        ("generic", "float32", 0.25, "profile", 1.0),
        ("generic", "float32", 0.24, "profile", 0.24),
        ("generic", "uint16", 16384.0, "profile", 65535.0),
        ("generic", "uint16", 4095.0, "profile", 4095.0),
        ("pleiades-raw", "uint16", 1023.0, "profile", 1023.0),
        ("generic", "uint16", 0.0, "profile", 65535.0),
    ],
)
def test_full_scale_follows_the_type_and_the_sensor(sensor: str, dtype: str, brightest: float, noise: object, full_scale: float) -> None:
    _, found, notes = stored_range(load_profile(sensor), np.dtype(dtype), brightest, noise)
    assert found == full_scale
    assert notes == []


def test_values_above_the_sensors_range_are_remarked() -> None:
    _, full_scale, notes = stored_range(load_profile("pleiades-raw"), np.dtype("uint16"), 9000.0, "profile")
    assert full_scale == 4095.0
    assert notes == ["values reach 9000, above the sensor's 4095: does the sensor fit the scene?"]


@pytest.mark.parametrize(("dtype", "sentence"), [("uint8", "the scene is 8-bit"), ("float32", "values end near 0.9")])
def test_noise_in_another_unit_is_refused(dtype: str, sentence: str) -> None:
    with pytest.raises(InputError, match=f"{sentence}.*--noise SIGMA0,GAIN"):
        stored_range(load_profile("pleiades-raw"), np.dtype(dtype), 0.9, "profile")


def test_a_range_is_counted_from_zero_signal() -> None:
    generic = load_profile("generic")
    profile = replace(generic, bands=(replace(generic.bands[0], noise=Noise(0.1, 0.0, -40.0)),))
    assert stored_range(profile, np.dtype("float32"), 1.0, "profile")[1] == 41.0


@pytest.mark.parametrize(("share", "notes"), [(0.005, 0), (0.2, 1)])
def test_values_below_zero_signal_are_remarked(share: float, notes: int) -> None:
    """Within five deviations of the noise they are noise."""
    band = replace(load_profile("generic").bands[0], noise=Noise(2.0, 0.05, 1000.0))
    values = np.full((1, 100, 100), 1000.0 - 9.9, np.float32)
    values[0, 50:] = 1400
    valid = np.ones(values.shape, bool)
    assert check_signal((band,), [(values, valid)]) == []
    values.reshape(-1)[: round(share * values.size)] = 980
    found = check_signal((band,), [(values, valid)])
    assert [n.partition(";")[0] for n in found] == notes * ["20% of the values of band * are below the sensor's zero signal, 1000"]
    valid.reshape(-1)[: round(share * values.size)] = False
    assert check_signal((band,), [(values, valid)]) == []
