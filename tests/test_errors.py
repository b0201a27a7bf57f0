"""Sentences for users."""

from __future__ import annotations

import pytest

from imaging.errors import InputError, WorkError, did_you_mean, one_line


def test_a_close_name_is_suggested_and_all_are_listed() -> None:
    assert did_you_mean("Pleiade", ["spot6", "pleiades", "naip"]) == "did you mean pleiades? known are naip, pleiades, spot6"


def test_nothing_is_suggested_for_a_name_unlike_any() -> None:
    assert did_you_mean("zzzzzz", ["spot6", "naip"]) == "known are naip, spot6"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("It failed.\nSee above."), "It failed"),
        (ValueError(), "ValueError"),
        (WorkError("no end"), "no end"),
        (InputError("a"), "a"),
    ],
)
def test_libraries_say_one_line(error: Exception, line: str) -> None:
    assert one_line(error) == line
