"""Commands end with one sentence and the right exit code, whatever goes wrong."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import click

from imaging.errors import ImagingError, InputError, one_line


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Only Python writes to standard error: libtiff prints there, past GDAL's error handling, when a disk is full."""
    try:
        own = sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        own = False
    if not own:
        yield
        return
    before, kept = sys.stderr, os.dup(2)
    with os.fdopen(kept, "w", encoding=before.encoding, errors=before.errors, buffering=1) as stderr, open(os.devnull, "w") as nowhere:
        before.flush()
        os.dup2(nowhere.fileno(), 2)
        sys.stderr = stderr
        try:
            yield
        finally:
            sys.stderr = before
            os.dup2(kept, 2)


def guarded(action: Any, *arguments: Any, **values: Any) -> None:
    """Run, and end with one sentence and the right exit code instead of a traceback."""
    # Raised while torchvision and compressai are imported; nothing a user could do about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.script", category=FutureWarning)
    try:
        with nullcontext() if values.get("verbose") else _quiet_libraries():
            action(*arguments, **values)
    except InputError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except ImagingError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command with --resume goes on from the finished tiles.", err=True)
        sys.exit(1)
    except Exception as error:
        if values.get("verbose"):
            raise
        click.echo(
            f"Error: the restoration failed ({type(error).__name__}: {one_line(error)}); run again with -v for the details", err=True
        )
        sys.exit(1)


def instead(action: Callable[..., None]) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Callback of an option that does something else than restore; a text value is the action's argument."""

    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value and not ctx.resilient_parsing:
            guarded(action, *([value] if isinstance(value, str) else []))
            ctx.exit()

    return callback
