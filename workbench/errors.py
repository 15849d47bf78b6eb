"""The two ways a request can fail, and the one warning category.

Command-line verbs turn them into one paragraph and an exit code: bad arguments 2, bad data 1.
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """Base of every error the workbench raises on purpose; its text is one paragraph."""

    exit_code = 1


class ArgumentError(WorkbenchError, ValueError):
    """An argument names something that does not exist or cannot be."""

    exit_code = 2


class DataError(WorkbenchError, ValueError):
    """The data, or a store, cannot be used as asked."""

    exit_code = 1


class CollapseWarning(UserWarning):
    """A decision the workbench made on the user's behalf, worth knowing."""
