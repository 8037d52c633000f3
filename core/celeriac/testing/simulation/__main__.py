"""``python -m celeriac.testing.simulation``: run seeds, or tell the story of one."""

from __future__ import annotations

import sys

from celeriac.testing.simulation.command import main

sys.exit(main())
