"""Certificates of operations and of their mistakes, each in a process of its own."""

import contextlib
import io
import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.pool import ThreadPool

import tinygraph as tg
from tests.strangers.cases import Case, Mistake, load, sources
from tests.strangers.causes import judge_all
from tests.strangers.edits import helps

SECONDS, MEMORY = 120, 8 << 30


@dataclass(frozen=True)
class Run:
    """What a certificate said: ``ok``, ``wrong``, ``no inputs`` or ``crashed``, and its failing lines.

    A line has its check, its figure, its hint, and whether the edit that the hint names makes the rule right.
    """

    verdict: str
    lines: list[tuple[str, str, str, bool | None]]
    seconds: float = 0.0


def certified(job: tuple[Case, str]) -> Run:
    """Certify an operation that a source text defines."""
    case, source = job
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            certificate = tg.certify(load(case.name, source))
    except Exception as error:
        return Run("crashed", [(type(error).__name__, str(error)[:300], "", None)])
    finally:
        signal.alarm(0)
    lines = [(line.check, line.figure, line.hint, helps(case, source, line.hint)) for line in certificate.failures]
    verdict = "no inputs" if not certificate.samples else "ok" if certificate.ok else "wrong"
    return Run(verdict, lines, certificate.seconds)


def judged_again(case: Case, source: str, run: dict) -> Run:
    """Return a run that was saved, with the edits of its hints tried again."""
    lines = [(check, figure, hint, helps(case, source, hint)) for check, figure, hint, *_ in run["lines"]]
    return Run(run["verdict"], lines, run["seconds"])


def _give_up(*_):
    raise TimeoutError(f"no certificate after {SECONDS} s")


def certify_all(jobs: list[tuple[Case, str]], processes: int = 1) -> Iterator[Run]:
    """Certify many, in their order; every job has a process of its own, so that no registry knows two of a name."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sources()
    with ThreadPool(processes) as pool:
        yield from pool.imap(_alone, jobs, chunksize=1)


def _alone(job: tuple[Case, str]) -> Run:
    """Certify in a process that may die, or not come to an end."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, job))
    process.start()
    sender.close()
    run = Run("crashed", [("process", "it did not come to an end", "", None)])
    with contextlib.suppress(EOFError):
        if receiver.poll(2 * SECONDS):
            run = receiver.recv()
    process.kill()
    process.join()
    return run


def _send(sender: Connection, job: tuple[Case, str]) -> None:
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sender.send(certified(job))


@dataclass(frozen=True)
class Found:
    """What became of one mistake: ``found`` or not, and whether the hint was ``named``, ``unknown`` or ``misleading``."""

    mistake: Mistake
    run: Run
    found: bool
    hint: str


def look(mistake: Mistake, run: Run, right: Run) -> Found:
    """Judge the certificate of a mistake. Lines at which the right operation fails as well say nothing about it."""
    refused = {line[0] for line in right.lines}
    lines = [line for line in run.lines if line[0] not in refused]
    found = run.verdict == "wrong" and bool(lines)
    return Found(mistake, run, found, judge_all(lines, mistake.causes) if found else "")


@dataclass(frozen=True)
class Outcome:
    """An operation with the certificates of its right form and of its mistakes."""

    case: Case
    right: Run
    mistakes: list[Found]


def examine(chosen: list[Case], processes: int = 1) -> Iterator[Outcome]:
    """Certify operations and all their mistakes."""
    jobs = [(case, source) for case in chosen for source in [case.source, *map(case.mistaken, case.mistakes)]]
    runs = certify_all(jobs, processes)
    for case in chosen:
        right = next(runs)
        yield Outcome(case, right, [look(mistake, next(runs), right) for mistake in case.mistakes])
