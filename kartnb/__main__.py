"""``python -m kartnb``: the `kartnb` command."""

import sys

from kartnb.cli.command import main

if __name__ == '__main__':
    sys.exit(main())
