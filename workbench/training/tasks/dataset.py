"""Text of a Hugging Face dataset, streamed: only as many documents as are asked for are fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import DataError
from workbench.training.sections import DatasetSection

_SEPARATOR = b"\n\n"


def stream_text(section: DatasetSection) -> tuple[NDArray[np.uint8], str]:
    """Return the bytes of the first documents of a dataset, in its own order.

    Parameters
    ----------
    section : DatasetSection
        Which dataset, split and column, and how much of it.

    Returns
    -------
    ndarray of uint8, and a name for messages

    Raises
    ------
    DataError
        If the library is not installed, the dataset cannot be opened, or it has no such column.
    """
    try:
        import datasets
    except ImportError as error:
        msg = (
            "Streaming a dataset needs the library datasets, which is not installed: "
            "pip install 'collapse-workbench[text]'"
        )
        raise DataError(msg) from error
    name = f"dataset {section.dataset!r}, split {section.split!r}"
    options: dict[str, Any] = {"split": section.split, "streaming": True}
    if section.data_files is not None:
        options["data_files"] = list(section.data_files)
    try:
        documents = datasets.load_dataset(section.dataset, section.config, **options)
        return _joined(documents, section, name), name
    except DataError:
        raise
    except Exception as error:
        # The library raises errors of its own, of the file system and of the network alike.
        what = " ".join(str(error).split())
        msg = f"{name} cannot be streamed: {what}. Correct [task], or train on a file instead."
        raise DataError(msg) from error


def _joined(
    documents: Iterable[Mapping[str, Any]], section: DatasetSection, name: str
) -> NDArray[np.uint8]:
    wanted = int(section.megabytes * 1e6)
    text = bytearray()
    for document in documents:
        found = document.get(section.column)
        if not isinstance(found, str):
            columns = ", ".join(map(str, document))
            msg = f"{name} has no text in column {section.column!r}. Its columns are: {columns}."
            raise DataError(msg)
        text += found.encode() + _SEPARATOR
        if len(text) >= wanted:
            break
    return np.frombuffer(bytes(text[:wanted]), np.uint8)
