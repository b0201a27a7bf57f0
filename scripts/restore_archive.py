"""Restore an archive with the package's own interface, for those who want another executor or another log.

    python scripts/restore_archive.py ARCHIVE_FOLDER OUTPUT_FOLDER --sensor pleiades [--workers 2]

Does what ``imaging-restore --input ARCHIVE_FOLDER --output OUTPUT_FOLDER`` does; an example of `imaging.restore_archive`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import imaging


def main() -> int:
    """Parse, restore, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="folder, pattern or table")
    parser.add_argument("output", type=Path)
    parser.add_argument("--sensor", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--iterations", type=int, help="of a fit")
    arguments = parser.parse_args()
    report = imaging.restore_archive(
        arguments.archive, arguments.sensor, output=arguments.output, options=imaging.RestoreOptions(iterations=arguments.iterations),
        workers=arguments.workers, progress=lambda record: print(record["status"], record["input"], flush=True),
    )  # fmt: skip
    return 3 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
