"""``python -m htcdaskgateway`` is ``htcdask``."""

from htcdaskgateway.cli.main import main

if __name__ == "__main__":
    main()
