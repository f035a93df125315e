import os
import sys

from pneumonia.cli import main
from pneumonia.system.switches import set_switches

set_switches()
try:
    code = main(sys.argv[1:])
    sys.stdout.flush()
except BrokenPipeError:  # the reader of our output (head, less) has closed it
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    code = 0
sys.exit(code)
