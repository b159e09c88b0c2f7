"""Impairments of a link: the user's options as values, and the program (wire.py) that carries them out."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.base import helper, records
from tasks.base.errors import UsageError
from tasks.run.net.net_state import WireRecord

PROGRAM = Path(__file__).parent / "programs" / "wire.py"
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
RATES = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
MOST = {"delay": 60.0, "jitter": 60.0}  # seconds
LEAST_RATE, MOST_RATE = 1e3, 1e11  # bits a second
MOST_WAITING = 100_000
WAYS: Mapping[str, tuple[str, ...]] = {"out": ("out",), "in": ("in",), "both": ("out", "in")}


@dataclass(frozen=True)
class Impairment:
    """What happens to the frames of one direction."""

    delay: float = 0.0  # seconds
    jitter: float = 0.0  # seconds that a delay may differ, both ways
    loss: float = 0.0  # 0 to 1
    rate: float = 0.0  # bits a second; 0: any
    limit: int = 1000  # frames that may wait; more are lost

    def __str__(self) -> str:
        parts = []
        if self.delay:
            parts.append(f"delay {_time(self.delay)}" + (f" ± {_time(self.jitter)}" if self.jitter else ""))
        if self.loss:
            parts.append(f"loss {self.loss * 100:g}%")
        if self.rate:
            parts.append(f"rate {_rate(self.rate)}")
        return ", ".join(parts)


def parse(options: Mapping[str, str]) -> Impairment:
    """The options of the command line as a value. Raises UsageError with all that is wrong."""
    values: dict[str, Any] = {}
    problems = []
    for name, text in options.items():
        try:
            values[name] = _READERS[name](name, text)
        except ValueError as error:
            problems.append(f"--{name}: {error}")
    impairment = Impairment(**values)
    if not problems and impairment.jitter > impairment.delay:
        problems.append("--jitter: more than --delay; a frame cannot arrive before it is sent")
    if not problems and not (impairment.delay or impairment.loss or impairment.rate):
        problems.append("nothing to do: give --delay, --loss or --rate above 0")
    if problems:
        raise UsageError("\n  ".join(problems))
    return impairment


def start(folder: Path, name: str, impairment: Impairment, ways: Sequence[str]) -> None:
    """Start the program for the NIC `name`; it listens at `doors`, and ends with QEMU's connections.

    Raises UserError when it does not start.
    """
    argv = [sys.executable, "-I", str(PROGRAM), str(doors(folder, name))]
    sockets = [Path(f"{doors(folder, name)}.{way}.{end}") for way in ways for end in ("from", "to")]
    _start(folder, name, (impairment, ways), argv, sockets)


def start_between(
    folder: Path, name: str, what: tuple[Impairment, Sequence[str]], argv: Sequence[str], ready: Path
) -> None:
    """Start a program that stands between the NIC `name` and its net by itself, until `end`.

    It is told `what` happens, and on which ways, in a last word, and makes the file `ready`. Raises UserError
    when it does not.
    """
    _start(folder, name, what, argv, [ready])


def _start(
    folder: Path,
    name: str,
    what: tuple[Impairment, Sequence[str]],
    argv: Sequence[str],
    signs: Sequence[Path],
) -> None:
    impairment, ways = what
    settings = {way: asdict(impairment) for way in ways}
    failure = f"the program that disturbs the link {name} did not start"
    words = [*argv, json.dumps(settings, sort_keys=True)]
    log = folder / f"netem-{name}.log"
    helper.start(
        helper.Helper(failure, words, _state(folder, name), log, folder.parent),
        lambda _: all(path.exists() for path in signs),
        lambda mark: WireRecord.at(mark, settings=settings),
        undo=lambda: end(folder, name),
    )


def doors(folder: Path, name: str) -> Path:
    """The beginning of the names of the program's sockets."""
    return folder / f"netem-{name}"


def end(folder: Path, name: str) -> None:
    """End the program of a NIC; it is no error if there is none."""
    records.end(_state(folder, name))
    for path in folder.glob(f"netem-{name}.*"):
        path.unlink(missing_ok=True)


def current(folder: Path, name: str) -> dict[str, Impairment]:
    """The impairments of a NIC now, by direction. If its program was killed, every frame is lost."""
    wire = records.read_if_there(_state(folder, name), WireRecord, f"`xc netem N {name} off` ends it")
    if wire is None:
        return {}
    if not wire.running:
        return {way: Impairment(loss=1.0) for way in wire.settings}
    return {way: Impairment(**values.model_dump()) for way, values in wire.settings.items()}


def _state(folder: Path, name: str) -> Path:
    return folder / f"netem-{name}.helper"


def _read_time(name: str, text: str) -> float:
    value = _number(text, TIMES, "a time such as 50ms (units: us, ms, s)")
    if value > MOST[name]:
        raise ValueError(f"expected at most {MOST[name]:g} s, got '{text}'")
    return value


def _read_loss(_: str, text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%?", text)
    if not match or float(match[1]) > 100:
        raise ValueError(f"expected a share of 0 to 100 percent such as 10%, got '{text}'")
    return float(match[1]) / 100


def _read_rate(_: str, text: str) -> float:
    value = _number(text, RATES, "a rate such as 1mbit (units: bit, kbit, mbit, gbit)")
    if value and not LEAST_RATE <= value <= MOST_RATE:
        raise ValueError(f"expected a rate between 1kbit and 100gbit, got '{text}'")
    return value


def _read_limit(_: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MOST_WAITING:
        raise ValueError(f"expected a number of frames from 1 to {MOST_WAITING}, got '{text}'")
    return int(text)


def _number(text: str, units: Mapping[str, float], what: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-z]*)", text.lower())
    if not match or (match[2] not in units and float(match[1])):
        raise ValueError(f"expected {what}, got '{text}'")
    return float(match[1]) * units.get(match[2], 0.0)


def _time(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1e3:g}ms"


def _rate(bits: float) -> str:
    unit = max((unit for unit, factor in RATES.items() if bits >= factor), key=lambda unit: RATES[unit])
    return f"{bits / RATES[unit]:g}{unit}"


_READERS = {"delay": _read_time, "jitter": _read_time, "loss": _read_loss, "rate": _read_rate,
            "limit": _read_limit}  # fmt: skip
OPTIONS = tuple(_READERS)
