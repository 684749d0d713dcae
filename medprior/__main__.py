"""`python -m medprior` is the `medprior` command."""

import sys

from medprior.cli import main

sys.exit(main())
