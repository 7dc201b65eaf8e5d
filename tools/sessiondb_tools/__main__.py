"""``python -m sessiondb_tools`` is the `sessiondb` command."""

import sys

from .main import main

sys.exit(main())
