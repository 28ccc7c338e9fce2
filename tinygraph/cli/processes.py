"""Where a command computes: ``--engine``, ``--devices``, and several processes, which are started, watched, started again."""

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from tinygraph import interruption
from tinygraph.cli.group import ARGUMENTS, INTERRUPTED, PROCESS, leave
from tinygraph.cli.options import Command
from tinygraph.cli.runs import CHECKPOINT
from tinygraph.cli.terminal import say, styled
from tinygraph.engines import chosen_engine
from tinygraph.engines.processes import LOST, Place, found_place, leave_together
from tinygraph.errors import EngineError, TinygraphError

# In seconds: how long the others may go on after a process has ended, to end with their own message; how long a process
# may take to end that others, who end by it, have lost already; and how long process 0 may take to keep what was learned.
GRACE, LOOK, SAVING = 10.0, 1.0, 60.0
_PRECISION = "Precision of products of float32, for xla.  [default: full]"
_NUMBER, _COUNT = click.IntRange(min=0), click.IntRange(min=1)
_OPTIONS = (
    click.option("--engine", metavar="plan|xla", default="plan", help="What computes.  [default: plan]"),
    click.option("--devices", metavar="N", type=_COUNT, help="Devices of each process, for xla.  [default: all]"),
    click.option("--precision", metavar="full|fast|bfloat16", default="full", help=_PRECISION),
    click.option("--processes", metavar="N", type=_COUNT, help="Start so many processes on this machine, for xla."),
    click.option("--coordinator", metavar="HOST:PORT", help="Address of process 0, for processes on several machines."),
    click.option("--process-id", metavar="I", type=_NUMBER, help="Number of this process, from 0."),
    click.option("--process-count", metavar="N", type=_COUNT, help="How many processes there are."),
)
_RESTARTS = "Start lost processes again from the last checkpoint, at most so often."


def engine_options(folder: Callable[..., Path] | None = None) -> Callable[[Command], Command]:
    """Return the options that say where a command computes; the command gets them as ``on``, for ``tg.compile`` and its kin.

    With several processes the command runs in each of them, and is watched here. ``folder`` returns the folder of the results
    from the arguments of a command that can continue, which has the option ``--restarts`` too.
    """
    again = click.option("--restarts", metavar="K", type=_NUMBER, default=0, help=_RESTARTS)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(*args: Any, engine: str, devices: int | None, precision: str, **given: Any) -> Any:
            asked = {name: given.pop(name) for name in ("processes", "coordinator", "process_id", "process_count")}
            restarts, on = given.pop("restarts", 0), {"engine": engine, "devices": devices, "precision": precision}
            chosen_engine(engine, precision)
            if PROCESS in os.environ:
                place = Place(**json.loads(os.environ[PROCESS]))
                enter(place)
                # Several processes use all devices that each of them sees.
                return _joined(command, *args, on=on if place.count == 1 else on | {"devices": None}, **given)
            places = _places(engine, devices, **asked)
            if len(places) == 1 and places[0].count == 1 and not restarts:
                return command(*args, on=on, **given)
            arguments, out = click.get_current_context().meta[ARGUMENTS], given["out"]
            if folder is None:
                return watch(places, arguments)
            if out is None and not places[0].local:
                raise TinygraphError("processes on several machines need --out, a folder that all of them see")
            out = out if places[0].index else folder(*args, **given)
            return watch(places, [*arguments, "--out", str(out)], restarts, out / CHECKPOINT)

        for option in reversed([*_OPTIONS, *([again] if folder else [])]):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[return-value]

    return decorate


def _places(engine: str, devices: int | None, processes: int | None, **address: Any) -> list[Place]:
    """Return the places of the processes of this machine."""
    asked = {name: value for name, value in {"devices": devices, "processes": processes, **address}.items() if value}
    if engine == "plan":
        for name in asked:
            flag = f"--{name.replace('_', '-')}"
            raise TinygraphError(f"{flag} is for --engine xla; found --engine plan, which computes on this CPU alone")
        return [Place("", 0, 1, local=True)]
    if processes and any(value is not None for value in address.values()):
        raise TinygraphError("--processes starts all of them on this machine, so --coordinator has no meaning with it")
    one = None if processes else found_place(os.environ, *address.values())
    if one is not None:
        return [replace(one, devices=None if devices is None else tuple(range(devices)))]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{free.getsockname()[1]}"
    each, total = devices or 1, processes or 1
    numbers = [tuple(range(i * each, (i + 1) * each)) for i in range(total)]
    return [Place(here, i, total, numbers[i] if total > 1 else None, local=True) for i in range(total)]


def _joined(command: Callable[..., Any], *args: Any, **given: Any) -> Any:
    """Run a command next to other processes; end with ``LOST`` where it fails as it does when these are gone."""
    try:
        code = command(*args, **given)
        # Where process 0 ends first, the others abort. After a signal to it, they wait for its next step.
        if not code:
            leave_together()
        return code
    except Exception as error:
        own = (TinygraphError, OSError, click.ClickException, click.exceptions.Exit)
        if isinstance(error, own) and not isinstance(error, EngineError):
            raise
        # XLA's errors go into the log: another process may have the cause.
        print(f"{traceback.format_exc()}error: {type(error).__name__}: {error}", file=sys.__stderr__, flush=True)
        leave(LOST)


def enter(place: Place) -> None:
    """Take the place for which this process was started, and end with the process that started it.

    What libraries of C++ print goes into a file: their stack traces would hide the messages of this program.
    """
    log = os.open(place.log, os.O_WRONLY | os.O_APPEND)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        shown = os.dup(log if place.index else stream.fileno())
        os.dup2(log, stream.fileno())
        setattr(sys, name, os.fdopen(shown, "w", encoding=stream.encoding, errors=stream.errors))

    def follow() -> None:
        while os.read(0, 1):
            pass
        os._exit(LOST)

    threading.Thread(target=follow, daemon=True).start()
    if place.count > 1:
        place.join()


def watch(places: Sequence[Place], arguments: Sequence[str], restarts: int = 0, checkpoint: Path = Path()) -> int:
    """Run the command in a process at each place, and return the exit code of the first.

    When one is lost, the others are ended, and all are started again, at most ``restarts`` times, with ``--resume``.
    Raises ``TinygraphError`` when there is no restart left.
    """
    logs = Path(tempfile.mkdtemp(prefix="tinygraph_"))
    places = [replace(place, log=str(logs / f"process_{place.index}.log")) for place in places]
    for used in range(restarts + 1):
        for place in places:
            Path(place.log).touch()
        with interruption.held():
            lost, code = _attempt(places, arguments)
        if lost is None:
            shutil.rmtree(logs)
            return code
        if styled():
            say()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed: {_error_of(lost)}"
        what = f"process {lost.index} of {lost.count} {how}"
        if used < restarts:
            say(f"note: {what}; restart {used + 1} of {restarts}", error=True)
        arguments = [*arguments, "--resume"]
    kept = "; --resume continues from the last checkpoint" if checkpoint.is_file() else ""
    raise TinygraphError(f"{what}{kept} (what libraries said is in {logs})")


def _attempt(places: Sequence[Place], arguments: Sequence[str]) -> tuple[Place | None, int]:
    """Run all processes once; return the place of one that was lost, or ``None``, and the exit code."""
    workers: dict[Place, subprocess.Popen[bytes]] = {}
    interrupted, end = False, float("inf")
    try:
        while True:
            try:
                for place in places[len(workers) :]:
                    workers[place] = _started(place, arguments)
                interruption.raise_if_interrupted()
                codes = {place: worker.poll() for place, worker in workers.items()}
                failed = {place: code for place, code in codes.items() if code}
                lost = {place: code for place, code in failed.items() if code < 0 or code == LOST}
                if interrupted and (code := codes[places[0]]) is not None:
                    return None, code
                if lost and lost == failed and codes[places[0]] != 0:
                    time.sleep(LOOK)
                    if places[0] in lost or (code := workers[places[0]].poll()) is None or code < 0 or code == LOST:
                        return next(iter(lost.items()))
                    continue
                if failed or codes[places[0]] == 0:
                    end = min(end, time.monotonic() + GRACE)
                if time.monotonic() > end or None not in codes.values():
                    place = next((place for place in failed if place not in lost), places[0])
                    if place.index and place in failed:
                        say(f"error: process {place.index} of {place.count}: {_error_of(place)}", error=True)
                    return None, failed.get(place, INTERRUPTED if interrupted else 0)
                time.sleep(0.05)
            except KeyboardInterrupt:
                # Process 0 keeps what was learned. The others take part in its step, and then wait until they are ended.
                if interrupted or not workers:
                    return None, INTERRUPTED
                interrupted = True
                end = time.monotonic() + (GRACE if places[0].index else SAVING)
                if not places[0].index:
                    workers[places[0]].send_signal(interruption.exit_code(INTERRUPTED) - 128)
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()


def _started(place: Place, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C comes to this process, which decides who gets it.
    return subprocess.Popen(
        [sys.executable, "-m", "tinygraph", *arguments],
        env={**os.environ, PROCESS: json.dumps(asdict(place))},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def _error_of(place: Place) -> str:
    """Return the last error that a process wrote into its log, or its last line."""
    lines = ["", *Path(place.log).read_text("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1]).removeprefix("error: ")
