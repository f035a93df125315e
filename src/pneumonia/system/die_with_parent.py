"""`python die_with_parent.py PARENT COMMAND...` replaces itself by COMMAND, which ends when the process PARENT does.

Linux kills the command when its parent dies for any reason, so that no orphan keeps its run's lock. On other systems
the command is started without that. This is a wrapper because the alternative, code between fork and exec, may hang in
a parent with threads. Ray's workers block SIGINT; it is unblocked, because the command must receive it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # man 2 prctl; the setting survives exec

if __name__ == "__main__":
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # the parent died before the call above
            sys.exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.execvp(command[0], command)
