"""How commands end: with 0, or with one line on the error stream and a code that says what happened."""

import contextlib
import importlib
import keyword
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import click

from tinygraph import interruption
from tinygraph.cli.terminal import abandon, say
from tinygraph.errors import TinygraphError, shortened
from tinygraph.synonyms import called_here

# The last two are those that a shell gives to programs ended by SIGINT and SIGPIPE; see also ``interruption.exit_code``.
WRONG_RULE, MISTAKE, INTERRUPTED, UNREAD = 1, 2, 130, 141
# Where the arguments of the program are found in the context of a command.
ARGUMENTS = "tinygraph.arguments"
# The variable in which a process that was started next to others finds its place; see ``processes.py``.
PROCESS = "TINYGRAPH_PROCESS"


@contextlib.contextmanager
def _until_no_one_reads() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, TinygraphError) as error:
        # An operation of the user's may print as well.
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            raise
        raise click.exceptions.Exit(UNREAD) from None


class Commands(click.Group):
    """A group of commands whose users never see a traceback for a mistake of their own.

    Errors of tinygraph and of the operating system, and options that do not fit, end in ``error: ...`` and code 2; a signal
    ends in code 128 + its number, and a reader that closes the pipe, as ``head`` does, in 141 without a message.
    ``table`` has the module and the short help of each command; the module is imported when the command is named.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.table = table
        # Click looks here for names that are near a misspelled one; commands are imported by ``get_command`` alone.
        self.commands = dict.fromkeys(table, self)

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command line and end the program; without ``standalone_mode``, return or raise as Click does."""
        run: Callable[..., Any] = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        interruption.note_results(None)
        _tolerate_narrow_encodings()
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda warning, *rest: say(f"note: {shortened(str(warning))}", error=True)
                result = run(*args, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            leave(MISTAKE)
        except (click.Abort, KeyboardInterrupt):
            fail("interrupted", INTERRUPTED)
        except click.ClickException as error:
            here = _option_here(error) if isinstance(error, click.NoSuchOption) else ""
            fail(f"{error.format_message()}{here}", MISTAKE)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            fail(f"{place}{error.strerror or error}", MISTAKE)
        except (TinygraphError, MemoryError) as error:
            fail(str(error) or "not enough memory", MISTAKE)
        leave(result if isinstance(result, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of a command, and return the command."""
        if name not in self.table:
            return None
        function = f"{name}_" if keyword.iskeyword(name) else name
        module = importlib.import_module(f"tinygraph.cli.{self.table[name][0]}")
        command: click.Command = getattr(module, function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the short help of every command without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in self.table.items()])

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        """Read the command line, and keep it."""
        given = [*args]
        # ``--help`` writes while the command line is read, and a command while it runs.
        with _until_no_one_reads():
            context = super().make_context(info_name, args, *rest, **extra)
        context.meta[ARGUMENTS] = given
        return context

    invoke = _until_no_one_reads()(click.Group.invoke)


def _option_here(error: click.NoSuchOption) -> str:
    """Return the name here of an option of another framework, such as --learning-rate for --lr."""
    known = error.ctx.command.params if error.ctx is not None else []
    options = {parameter.name or "": max(parameter.opts, key=len) for parameter in known}
    here = called_here(error.option_name.strip("-").replace("-", "_"), options)
    return f" Here it is called {options[here]}." if here else ""


def fail(message: str, code: int) -> NoReturn:
    """Write one line to the error stream and end the program."""
    say(f"error: {shortened(message)}{interruption.results_note()}", error=True)
    leave(code)


def leave(code: int) -> NoReturn:
    """End the program: nothing can interrupt it any more, and no stream fails when Python closes it."""
    interruption.finish()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            abandon(stream)
    if PROCESS in os.environ:
        # Exit handlers of libraries would wait for the other processes.
        os._exit(interruption.exit_code(code))
    sys.exit(interruption.exit_code(code))


def _tolerate_narrow_encodings() -> None:
    """Replace what a terminal's encoding lacks, such as the star of a correlation, rather than fail on it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
