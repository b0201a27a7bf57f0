"""Former spellings of public functions, which go on working for one version, with a warning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def formerly(translate: Callable[..., dict[str, Any] | None], today: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function be called as it was before.

    Parameters
    ----------
    translate : callable
        Called with the arguments of each call; the keywords of today for a former one, None for one of today.
    today : str
        How the function is called today, for the warning.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*arguments: P.args, **keywords: P.kwargs) -> R:
            former = translate(*arguments, **keywords)
            if former is None:
                return function(*arguments, **keywords)
            warnings.warn(
                f"this way to call {function.__name__} ends with version 0.2; it is now {today}", DeprecationWarning, stacklevel=2
            )
            return function(**former)  # type: ignore[call-arg]

        return call

    return decorate


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let keywords of a function be called as they were before: the name of today by the former one."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*arguments: P.args, **keywords: P.kwargs) -> R:
            for former in names.keys() & keywords.keys():
                text = f"{function.__name__}({former}=...) ends with version 0.2; it is now {names[former]}"
                warnings.warn(text, DeprecationWarning, stacklevel=2)
                keywords[names[former]] = keywords.pop(former)
            return function(*arguments, **keywords)

        return call

    return decorate
