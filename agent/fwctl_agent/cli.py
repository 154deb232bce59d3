"""`fwctl-agent`: request, enroll, run, simulate, status.

Exit codes: 0 ok, 2 usage, 3 input, 5 outside world, 6 lock, 70 bug.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import fwctl_agent


def run(argv: list[str] | None = None) -> None:
    """Entry point: parse, act, map errors to exit codes."""
    sys.exit(main(argv))


def main(argv: list[str] | None = None) -> int:
    """Return the exit code of one command line."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="fwctl-agent: %(levelname)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # failed handshakes are the peer's trouble
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    from fwctl_agent.config import ConfigError
    from fwctl_agent.server.run import Locked, Unavailable

    try:
        return _dispatch(arguments)
    except ConfigError as error:
        return _say(3, str(error))
    except Unavailable as error:
        return _say(5, str(error))
    except Locked as error:
        return _say(6, str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 5
    except OSError as error:
        return _say(5, f"{error.filename or 'input/output'}: {error.strerror}")
    except Exception as error:  # noqa: BLE001  the one guard
        return _say(70, f"this is a bug in fwctl-agent: {type(error).__name__}: {error}")


def _dispatch(arguments: argparse.Namespace) -> int:
    if arguments.command == "run":
        from fwctl_agent.server.run import run as run_device

        return run_device(arguments.config)
    if arguments.command == "simulate":
        from fwctl_agent.simulate import Options, simulate

        return simulate(
            Options(
                folder=arguments.enrolled,
                devices=arguments.devices,
                host=arguments.listen_host,
                port=arguments.listen_port,
                boot_delay=arguments.boot_delay,
                in_memory=arguments.memory,
                shared=arguments.shared_verification,
                faults=arguments.faults,
            )
        )
    if arguments.command == "request":
        return _request(arguments)
    if arguments.command == "enroll":
        return _enroll(arguments)
    from fwctl_agent.runtime.status import status

    sys.stdout.write(status(arguments.config, as_json=arguments.format == "json"))
    return 0


def _request(arguments: argparse.Namespace) -> int:
    from fwctl_agent.joining import request

    text = request(arguments.config, arguments.id, arguments.fleet)
    if arguments.out is None:
        sys.stdout.write(text)
        return 0
    # It may lie on a stick that was elsewhere: a link there must not lead to a file of this device.
    handle = os.open(arguments.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
    name = arguments.id
    return _say(0, f"the key stays in {arguments.config}; the request is in {arguments.out}") or _say(
        0, f"next, where the fleet's keys are: fwctl device enroll {name} --request {arguments.out.name} --out {name}"
    )


def _enroll(arguments: argparse.Namespace) -> int:
    from fwctl_agent.joining import join

    settings, root = join(arguments.config, arguments.bundle)
    sys.stdout.write(f"{settings.id} is enrolled in {settings.repo_id} and trusts root {root}\n")
    return _say(0, f"next: fwctl-agent run --config {arguments.config}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fwctl-agent", description="The device side of fwctl: verify, install, try, confirm or revert firmware."
    )
    parser.add_argument("--version", action="version", version=f"fwctl-agent {fwctl_agent.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    request = commands.add_parser("request", help="make this device's key and a request for its certificate")
    request.add_argument(
        "--config", required=True, type=Path, metavar="DIR", help="the device's folder; made if missing"
    )
    request.add_argument("--id", required=True, metavar="NAME", help="the device, as the inventory calls it")
    request.add_argument("--fleet", required=True, metavar="ID", help="the fleet: spec.repoId of its fleet.yaml")
    request.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    enroll = commands.add_parser("enroll", help="install what was issued for the request")
    enroll.add_argument("--config", required=True, type=Path, metavar="DIR", help="the folder of the request")
    enroll.add_argument(
        "--bundle", required=True, type=Path, metavar="DIR", help="made by: fwctl device enroll --request"
    )
    run_ = commands.add_parser("run", help="serve the device whose folder is DIR")
    run_.add_argument("--config", required=True, type=Path, metavar="DIR", help="folder made by: fwctl device enroll")
    simulate = commands.add_parser("simulate", help="serve many enrolled devices from one process, on loopback")
    simulate.add_argument("--devices", required=True, type=_count, metavar="N", help="how many of the folders")
    simulate.add_argument("--enrolled", required=True, type=Path, metavar="DIR", help="one folder per device below")
    simulate.add_argument("--listen-host", default="0.0.0.0", metavar="HOST", help="default: all of 127/8")  # noqa: S104
    simulate.add_argument("--listen-port", default=0, type=_port, metavar="P", help="default: any free port")
    simulate.add_argument("--boot-delay", default=0.0, type=_seconds, metavar="S", help="seconds a reboot takes")
    simulate.add_argument("--memory", action="store_true", help="journal and slots in memory: lost at the end")
    simulate.add_argument(
        "--shared-verification",
        action="store_true",
        help="identical metadata, approvals and releases are verified once; devices at rest keep only their files",
    )
    simulate.add_argument("--faults", type=Path, metavar="FILE", help="what goes wrong, where and when (TOML or JSON)")
    status = commands.add_parser("status", help="what a device's folder says")
    status.add_argument("--config", required=True, type=Path, metavar="DIR")
    status.add_argument("--format", choices=("text", "json"), default="text")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 200_000:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 200000")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be a port, 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError("must be seconds, 0 to 3600")
    return value


def _say(code: int, text: str) -> int:
    sys.stderr.write(f"fwctl-agent: {text}\n")
    return code
