"""``python -m tinygraph``: the command line, also where the program ``tinygraph`` is not on the path."""

from tinygraph.cli import main

if __name__ == "__main__":
    main()
