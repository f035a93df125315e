import sys

from pneumonia.cli import main

sys.exit(main(sys.argv[1:]))
