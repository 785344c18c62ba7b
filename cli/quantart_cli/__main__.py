"""Entry point of `quantart` and of `python -m quantart_cli`: runs the app and turns expected errors into sentences."""

from __future__ import annotations

import sys

from quantart_cli.app import app


def main() -> None:
    """Run the command line; exit code 2 for a user's mistake, 128 + signal where training was stopped by one."""
    from quantart.errors import StoppedBySignal, UserError

    try:
        app()
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
    except StoppedBySignal as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
