"""Run the command line, `bark_jax.cli`."""

import sys

from bark_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
