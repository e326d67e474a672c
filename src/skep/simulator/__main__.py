"""`python -m skep.simulator`."""

import sys

from skep.simulator.main import main

sys.exit(main())
