"""`python -m vnn` is the command line; torchrun starts it in several processes with `-m vnn`."""

from vnn.cli.main import main

if __name__ == "__main__":
    main()
