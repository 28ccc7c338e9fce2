"""``python -m tinygraph``: the command line, also where the program ``tinygraph`` is not on the path."""

from tinygraph.cli import main
from tinygraph.interruption import take_over

if __name__ == "__main__":
    take_over()
    main()
