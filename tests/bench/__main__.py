"""`python -m tests.bench`: measure, print, record."""

from __future__ import annotations

import argparse
import json
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tests.bench import table
from tests.bench.machine import machine
from tests.bench.modes import MODES, measure
from tests.bench.process import BenchError
from tests.bench.results import Result, to_json
from tests.bench.yard import Size, prepare


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0, 1 if a result is not as it must be, 5 if it could not be measured, 130."""
    options = _parser().parse_args(arguments)
    _many_files()
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    results: list[Result] = []
    try:
        with _folder(options.work) as folder:
            for devices in options.devices:
                size = Size(devices, options.image_bytes)
                fleet = prepare(folder / str(devices), size, _tell)
                wanted = options.mode or (("hot",) if options.faults else MODES)
                for result in measure(fleet, options, wanted, _tell):
                    results.append(result)
    except BenchError as error:
        _tell(f"error: {error}")
        return 5
    except KeyboardInterrupt:
        return 130
    finally:
        if results:
            found = machine()
            table.show(results, found, Console(width=80))
            if options.json:
                record = to_json(results, found, {"arguments": " ".join(arguments or sys.argv[1:])})
                options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 1 if any(result.problems for result in results) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    parser.add_argument("--devices", type=_numbers, default=[500], metavar="N[,N]", help="sizes of the fleet")
    parser.add_argument("--mode", type=_modes, metavar="MODE[,MODE]", help=", ".join(MODES))
    parser.add_argument("--image-bytes", type=int, default=65536, metavar="N", help="size of the firmware")
    parser.add_argument("--boot-delay", type=float, default=2.0, metavar="S", help="how long a reboot takes")
    parser.add_argument("--faults", type=float, default=0.0, metavar="PERCENT", help="devices that something befalls")
    parser.add_argument(
        "--bare-devices", type=int, default=2000, metavar="N", help="at most so many in the bare exchange"
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep the fleets here for the next run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the record")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _modes(text: str) -> list[str]:
    found = text.split(",")
    for name in found:
        if name not in MODES:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(MODES)}")
    return found


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    if work is not None:
        yield work.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="fwctl-bench-") as folder:
        yield Path(folder)


def _many_files() -> None:
    """Let what is started open as many connections as the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
