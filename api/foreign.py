"""Words of the libraries below that reach people: Typer's headings and usage errors, SQLite's and the operating system's reasons.

They are listed as the libraries write them, with a {name} for each value; `{message}` holds one of the others.
"""

from __future__ import annotations

# Headings and remarks of help pages, by their name in typer.rich_utils.
HELP_PAGE = {
    "ARGUMENTS_PANEL_TITLE": "Arguments",
    "OPTIONS_PANEL_TITLE": "Options",
    "COMMANDS_PANEL_TITLE": "Commands",
    "DEFAULT_STRING": "[default: {}]",
    "ENVVAR_STRING": "[env var: {}]",
    "REQUIRED_LONG_STRING": "[required]",
}
USAGE = "Usage: "
HELP_OPTION = "Show this message and exit."

USAGE_ERRORS = (
    "Missing option {hint}.",
    "Missing option {hint} (env var: {variable}).",
    "Missing argument {hint}.",
    "Missing parameter {hint}.",
    "Missing command.",
    "No such option: {option}",
    "No such command {command}.",
    "{message} (Possible options: {options})",
    "{message} Did you mean {command}?",
    "Option {option} does not take a value.",
    "Option {option} requires an argument.",
    "Option {option} requires {number} arguments.",
    "Argument {argument} takes {number} values.",
    "Got unexpected extra argument(s) ({arguments})",
    "Invalid value for {hint}: {message}",
    "Invalid value for {hint} (env var: {variable}): {message}",
    "Invalid value: {message}",
    "Input should be a valid integer, unable to parse string as an integer",
    "Input should be greater than or equal to {limit}",
    "Input should be less than or equal to {limit}",
)

# strerror(3) in the words of glibc.
SYSTEM_ERRORS = (
    "Address already in use",
    "Bad file descriptor",
    "Broken pipe",
    "Cannot assign requested address",
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "Device or resource busy",
    "Directory not empty",
    "Disk quota exceeded",
    "File exists",
    "File name too long",
    "File too large",
    "Input/output error",
    "Invalid argument",
    "Invalid cross-device link",
    "Is a directory",
    "Name or service not known",
    "Network is unreachable",
    "No address associated with hostname",
    "No locks available",
    "No route to host",
    "No space left on device",
    "No such device",
    "No such file or directory",
    "Not a directory",
    "Operation not permitted",
    "Operation not supported",
    "Permission denied",
    "Read-only file system",
    "Resource temporarily unavailable",
    "Stale file handle",
    "Temporary failure in name resolution",
    "Text file busy",
    "Too many levels of symbolic links",
    "Too many open files",
)

SQLITE_ERRORS = (
    "attempt to write a readonly database",
    "database disk image is malformed",
    "database is locked",
    "database or disk is full",
    "disk I/O error",
    "file is not a database",
    "near {token}: syntax error",
    "no such column: {column}",
    "no such function: {function}",
    "no such table: {table}",
    "unable to open database file",
    "You can only execute one statement at a time.",
)

REPORTED = (*USAGE_ERRORS, *SYSTEM_ERRORS, *SQLITE_ERRORS)
