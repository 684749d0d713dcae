"""Run the `medprior` command as `python -m medprior`."""

import sys

from medprior.cli import main

sys.exit(main())
