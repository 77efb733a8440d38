"""`python -m wdlab` is the command line of `wdlab.cli`."""

import sys

from wdlab.cli import main

sys.exit(main())
