"""Entry of ``python -m scripts.bench``."""

from scripts.bench.command import main

main()
