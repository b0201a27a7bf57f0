"""``python -m imaging`` is ``imaging-restore``."""

from imaging.cli.restore import main

main()
