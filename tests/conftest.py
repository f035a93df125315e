"""Of all tests: Ctrl-C does something, also where the suite itself runs in the background of a shell.

Without job control a shell has its background processes ignore SIGINT; children inherit that, but not a handler.
"""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
