"""``python -m bayeslmm``: the command line, see `bayeslmm.cli`."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
