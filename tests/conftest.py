"""Of all tests: Ctrl-C does something, also where the suite itself runs in the background of a shell without job control.

Such a shell has its background processes ignore SIGINT, and their children inherit that; a handler they do not inherit.
"""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
