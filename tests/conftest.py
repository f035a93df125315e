"""Of all tests: the process-wide switches that `__main__` sets; and Ctrl-C does something, also where the suite itself
runs in the background of a shell.

Without job control a shell has its background processes ignore SIGINT; children inherit that, but not a handler.
"""

import signal

from pneumonia.system.switches import set_switches

set_switches()
signal.signal(signal.SIGINT, signal.default_int_handler)
