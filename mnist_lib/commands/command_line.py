"""What all scripts share: parsing, log lines, and exit codes that mean something."""

from __future__ import annotations

import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable

from absl import app, flags

from mnist_lib import errors

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_EXIT_CODES = """
Exit codes: 0 done; 64 bad flag or combination; 65 data that is wrong; 66 data that is
not there; 70 training diverged or an internal error; 73 cannot create the output; 74
input/output error; 75 stopped by a signal, saved, start again."""


def run(main: Callable[[], None]) -> None:
    """Parses the flags, calls `main`, and ends the process.

    The last line on standard error names what is wrong and what to do.
    """
    arguments = _parse()
    if arguments:
        _fail(os.EX_USAGE, f"'{arguments[0]}' is not a flag; flags look like --name=value")
    _call(main)


def run_with_arguments(main: Callable[[list[str]], None]) -> None:
    """Like `run`, for a script that takes arguments after its flags and `--`."""
    arguments = _parse()
    _call(lambda: main(arguments))


def _call(main: Callable[[], None]) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("mnist_lib")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        main()
    except errors.ConfigError as error:
        is_flag = error.field in flags.FLAGS
        _fail(error.exit_code, f"--{error}" if is_flag else str(error))
    except errors.MnistLibError as error:
        _fail(error.exit_code, str(error))
    except KeyboardInterrupt:
        _fail(os.EX_TEMPFAIL, "stopped by SIGINT before there was anything to save; start again")
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            _fail_internally(error)
        _fail(os.EX_IOERR, f"{error.filename or 'output'}: {error.strerror}. Free some space.")
    except Exception as error:
        _fail_internally(error)


def _parse() -> list[str]:
    """Parses the flags; returns what follows them."""
    app.define_help_flags()
    main_module = sys.modules["__main__"]
    main_module.__doc__ = f"{main_module.__doc__}{_EXIT_CODES}"
    try:
        rest = flags.FLAGS(sys.argv)
    except flags.Error as error:
        _fail(os.EX_USAGE, f"{error} (--help lists the flags)")
    except SystemExit:  # absl has printed the help, and would exit with 1
        sys.exit(os.EX_OK)
    return rest[1:]


def _fail(exit_code: int, message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(exit_code)


def _fail_internally(error: Exception) -> None:
    traceback.print_exc()
    text = (str(error).splitlines() or [""])[0]
    _fail(os.EX_SOFTWARE, f"internal: {type(error).__name__}: {text}. See the lines above.")
