"""The command line: ``python -m bayeslmm``, or ``bayeslmm`` where the package is installed."""
