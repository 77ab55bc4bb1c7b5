"""`python -m mobilebert` is the `mobilebert` command."""

from mobilebert.cli import main

if __name__ == "__main__":
    main()
