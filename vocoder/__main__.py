"""`python -m vocoder` is the command `vocoder`."""

import sys

from vocoder.cli import main

if __name__ == "__main__":
    sys.exit(main())
