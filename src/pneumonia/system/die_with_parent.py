"""`python die_with_parent.py PARENT COMMAND...` becomes COMMAND, which ends when the process PARENT does.

Linux kills the command when its parent dies, however that happens, so that no orphan goes on and holds its run's lock.
Elsewhere the command is started as it is. A wrapper, because the alternative, code between fork and exec, may hang in a
parent with threads. Ray's workers block SIGINT; the command must hear it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # man 2 prctl; it outlives exec

if __name__ == "__main__":
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before it could be watched
            sys.exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.execvp(command[0], command)
