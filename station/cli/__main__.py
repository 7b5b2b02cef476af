"""``python -m station.cli``: the command ``carril`` where its script is not on the path."""

import sys

from station.cli.main import main

sys.exit(main())
