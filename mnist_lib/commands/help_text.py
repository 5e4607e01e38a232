"""What `--help` prints: what a command does, its flags in groups, each once, and exit codes."""

from __future__ import annotations

import re
import shutil
import textwrap

from absl import flags

from mnist_lib.commands import invocation

_EXIT_CODES = (
    "Exit codes: 0 done; 64 bad flag or combination; 65 data that is wrong; 66 data that is not "
    "there; 70 training diverged, an export that gives other answers, or an internal error; 73 "
    "cannot create the output; 74 input/output error; 75 stopped by a signal, saved, start again."
)
_COMMON = {
    "--help, -h, -?": "show this",
    "--version": "show the version",
    "--flagfile=FILE": "read flags from a file, one on a line",
}
_VALUES = {"int": "N", "float": "X", "comma separated list of strings": "A,B"}
_COLUMNS = (50, 100)  # narrower than the first is not readable, nor wider than the second
_FLAG_COLUMNS = 30
_WIDE_COLUMNS = 70  # from here on, what a flag does stands beside it


def of_command(doc: str, defined: flags.FlagValues) -> str:
    """Returns the help of one command.

    Args:
      doc: what it does; `mnist-lib NAME` in it becomes the form in which the user calls it.
      defined: its flags. A group is what was defined with one `module_name`.
    """
    columns = _columns()
    doc = re.sub(r"(?m)^ *mnist-lib (\w+)", lambda match: f"  {invocation.called(match[1])}", doc)
    parts = [doc.strip()]
    for group, members in defined.flags_by_module_dict().items():
        if not group.startswith("absl."):
            # Flags of a file rather than of a group have no title.
            title = group if group[:1].isupper() else "Flags"
            entries = {_spelling(flag): _description(flag) for flag in members}
            parts.append(_section(title, entries, columns))
    parts += [_section("Also", _COMMON, columns), textwrap.fill(_EXIT_CODES, columns)]
    return "\n\n".join(parts)


def of_all_commands() -> str:
    """Returns the list of the commands, with a line each."""
    entries = {name: _first_line(name) for name in invocation.COMMANDS}
    program = invocation.called("COMMAND")
    parts = [
        f"MNIST training in TensorFlow that is exact, resumable and fast.\n\n  {program} --help",
        _section("Commands", entries, _columns(), flag_columns=max(map(len, entries)) + 4),
        _section("Also", {"--help, -h, -?": "show this", "--version": "show the version"}, 80),
    ]
    return "\n\n".join(parts)


def _first_line(command: str) -> str:
    return (invocation.module_of(command).__doc__ or "").splitlines()[0].rstrip(".")


def _spelling(flag: flags.Flag) -> str:
    if flag.boolean:
        return f"--[no]{flag.name}"
    if flag.name.endswith("dir"):
        return f"--{flag.name}=DIR"
    return f"--{flag.name}={_VALUES.get(flag.flag_type(), 'NAME')}"


def _description(flag: flags.Flag) -> str:
    """Returns what the flag does, with its default, unless the text itself says it."""
    text = flag.help or ""
    if flag.default is None or "(default:" in text:
        return text
    default = str(flag.default).lower() if flag.boolean else flag.default
    return f"{text} (default: {default})"


def _section(title: str, entries: dict[str, str], columns: int, flag_columns=_FLAG_COLUMNS) -> str:
    lines = [title]
    for entry, text in entries.items():
        start = f"  {entry}"
        if columns < _WIDE_COLUMNS or len(start) >= flag_columns - 1:
            lines.append(start)
            start = ""
        indent = " " * (flag_columns if columns >= _WIDE_COLUMNS else 6)
        lines += textwrap.wrap(
            text,
            columns,
            initial_indent=start.ljust(len(indent)),
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _columns() -> int:
    low, high = _COLUMNS
    return max(low, min(high, shutil.get_terminal_size().columns))
