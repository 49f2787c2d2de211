"""The command line: `penstock` and `python -m penstock`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from penstock._demo import command as demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: what follows the program's name; None takes them from the process.
    """
    parser = argparse.ArgumentParser(prog="penstock", description="The HTTP connection pool engine for trio.")
    parser.add_argument("--version", action="version", version=f"penstock {version('penstock')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    demo_parser = commands.add_parser(
        "demo",
        help="measure what the pool changes, on this machine and in half a minute",
        description="Send real requests to an embedded TLS 1.3 server, with a connection per request and with "
        "Penstock, and compare latency, throughput, handshakes and processor time.",
    )
    demo.add_options(demo_parser)
    demo_parser.set_defaults(run=demo.run)
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
