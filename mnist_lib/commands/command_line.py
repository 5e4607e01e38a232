"""What all commands share: parsing, log lines, and exit codes that mean something."""

from __future__ import annotations

import contextlib
import difflib
import io
import logging
import os
import signal
import sys
import traceback
import typing
from collections.abc import Callable, Sequence

from absl import flags

from mnist_lib import errors, os_errors, stop_signals, version
from mnist_lib.commands import flag_files, help_text, invocation
from mnist_lib.training import own_errors

_HELP = ("--help", "-help", "-h", "-?")


class _ActionFlag(flags.BooleanFlag):
    """A flag that is carried out when it is read, and ends the process."""

    def __init__(self, name: str, action: Callable[[], str], short_name: str | None = None):
        super().__init__(name, False, "", short_name=short_name)
        self._action = action

    def parse(self, argument) -> None:
        super().parse(argument)
        if self.value:
            print(self._action())
            sys.exit(os.EX_OK)


def run(
    main: Callable[[], None], doc: str | None = None, arguments: Sequence[str] | None = None
) -> typing.NoReturn:
    """Parses the flags, calls `main`, and ends the process.

    The last line on standard error names what is wrong and what to do.

    Args:
      main: what to do.
      doc: the first part of the help; None: the docstring of the script.
      arguments: the flags; None: those of the process.
    """

    def parse_and_call() -> None:
        rest = _parse(doc, arguments)
        if rest:
            _fail(os.EX_USAGE, f"'{rest[0]}' is not a flag; flags look like --name=value")
        _call(main)

    _end_with(parse_and_call)


def run_with_arguments(
    main: Callable[[list[str]], None], doc: str, arguments: Sequence[str] | None = None
) -> typing.NoReturn:
    """Like `run`, for a command that takes arguments after its flags and `--`."""

    def parse_and_call() -> None:
        rest = _parse(doc, arguments)
        _call(lambda: main(rest))

    _end_with(parse_and_call)


def run_named(arguments: Sequence[str]) -> typing.NoReturn:
    """Runs the command that the first argument names, and ends the process.

    Args:
      arguments: the command's name and its flags.
    """
    command, *rest = arguments or ["--help"]
    if command in invocation.COMMANDS:
        invocation.module_of(command).run(rest)

    def answer() -> None:
        if command in _HELP:
            print(help_text.of_all_commands())
        elif command == "--version":
            print(_version())
        else:
            close = difflib.get_close_matches(command.replace("-", "_"), invocation.COMMANDS, n=1)
            hint = f"did you mean {close[0]}?" if close else "--help lists them"
            _fail(os.EX_USAGE, f"'{command}' is not a command; {hint}")

    _end_with(answer)


def _end_with(action: Callable[[], None]) -> typing.NoReturn:
    """Ends the process after `action`; a reader that has gone, as in `| head`, gets no word."""
    code: str | int | None = os.EX_OK
    _open_standard_streams()
    try:
        try:
            action()
        except SystemExit as ending:
            code = ending.code
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = os.EX_IOERR
    except OSError as error:  # a full disk, for instance, below standard output
        with contextlib.suppress(OSError):
            print(f"error: {os_errors.unwritable(error, 'standard output', '')}", file=sys.stderr)
        code = os.EX_IOERR
    for stream in (sys.stdout, sys.stderr):
        _discard_unwritable(stream)
    sys.exit(code)


def _discard_unwritable(stream: typing.TextIO) -> None:
    """Leads a stream nowhere if it cannot be written, else Python fails on it at its end."""
    with contextlib.suppress(OSError):
        stream.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_standard_streams() -> None:
    """Has the three streams lead somewhere, and take any path.

    A stream that was closed, as in `2>&-`, would give its number to the next file that is
    opened, and that file would get the messages.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace" if stream is sys.stderr else "surrogateescape"
            )


def _call(main: Callable[[], None]) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("mnist_lib")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with stop_signals.handled_by(_stop):
            main()
    except errors.ConfigError as error:
        is_flag = error.field in flags.FLAGS
        _fail(error.exit_code, f"--{error}" if is_flag else str(error))
    except errors.MnistLibError as error:
        _fail(error.exit_code, str(error))
    except KeyboardInterrupt as stopped:
        _fail(os.EX_TEMPFAIL, f"stopped by {stopped} outside of training; start again")
    except BrokenPipeError:
        raise
    except OSError as error:
        known = os_errors.as_error(error)
        if known is None:
            _fail_internally(error)
        _fail(known.exit_code, str(known))
    except Exception as error:
        _fail_internally(error)


def _stop(number: int, _frame) -> typing.NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _parse(doc: str | None, arguments: Sequence[str] | None) -> list[str]:
    """Parses the flags; returns what follows them."""
    doc = doc or sys.modules["__main__"].__doc__ or ""

    def show_help() -> str:
        return help_text.of_command(doc, flags.FLAGS)

    # absl's own names are those of its parts; help leaves them out.
    for flag in (
        _ActionFlag("help", show_help, short_name="h"),
        _ActionFlag("?", show_help),
        _ActionFlag("version", _version),
    ):
        flags.DEFINE_flag(flag, module_name="absl.app")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        flag_files.check(given)
        return flags.FLAGS(["", *given])[1:]
    except errors.ConfigError as error:
        _fail(error.exit_code, f"--{error}")
    except (flags.Error, ValueError) as error:  # the second: a value for --no...
        _fail(os.EX_USAGE, f"{error} (--help lists the flags)")


def _version() -> str:
    return f"mnist_lib {version.__version__}"


def _fail(exit_code: int, message: str) -> typing.NoReturn:
    # On one line, whatever characters a path in it has.
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in message)
    print(f"error: {line}", file=sys.stderr)
    sys.exit(exit_code)


def _fail_internally(error: Exception) -> typing.NoReturn:
    own = own_errors.own_error(error)
    where = own_errors.place(own)
    traceback.print_exception(own)
    what = f"{type(own).__name__}: {(str(own).splitlines() or [''])[0]}"
    told = f"{what} ({where})" if where else f"internal: {what}. See the lines above."
    _fail(os.EX_SOFTWARE, told)
