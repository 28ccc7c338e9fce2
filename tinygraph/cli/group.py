"""How commands end: with 0, or with one line on the error stream and a code that says what happened."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from tinygraph.errors import TinygraphError

WRONG_RULE, MISTAKE, INTERRUPTED = 1, 2, 130


class Commands(click.Group):
    """A group of commands whose users never see a traceback for a mistake of their own.

    What tinygraph and the operating system report, and options that do not fit, end in ``error: ...`` and code 2; Ctrl-C
    ends in code 130. Click itself ends quietly where a reader closes the pipe.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        _tolerate_narrow_encodings()
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(MISTAKE)
        except (click.Abort, KeyboardInterrupt):
            fail("interrupted", INTERRUPTED)
        except click.ClickException as error:
            fail(error.format_message(), MISTAKE)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            fail(f"{place}{error.strerror or error}", MISTAKE)
        except (TinygraphError, MemoryError) as error:
            fail(str(error) or "not enough memory", MISTAKE)
        sys.exit(result if isinstance(result, int) else 0)


def fail(message: str, code: int) -> None:
    """Write one line to the error stream and end the program."""
    with contextlib.suppress(OSError):
        click.echo(f"error: {message}", err=True)
    sys.exit(code)


def _tolerate_narrow_encodings() -> None:
    """Replace what a terminal's encoding lacks, such as the star of a correlation, rather than fail on it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
