"""``python -m imaging`` is ``imaging-restore``."""

from imaging.cli.restore import main

if __name__ == "__main__":
    main(prog_name="python -m imaging")
