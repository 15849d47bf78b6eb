"""Lightning's CSVLogger: ``metrics.csv`` with sparse rows, and ``hparams.yaml`` beside it.

The logger writes a row a call: training losses every few steps, validation and epoch means in rows
of their own. ``step`` counts from zero, so the loss of the first batch stands at step 0; it is kept
as written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workbench.io.configs import take_config
from workbench.io.csv_rows import cells, header_row, read_rows
from workbench.io.names import metric_name, name_columns
from workbench.io.plain_yaml import UnreadableYamlError, read_yaml
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed
from workbench.schema import canonical_run_name

HPARAMS = "hparams.yaml"


def sniff(source: Source) -> bool:
    """Tell whether the header has an epoch, a step and a loss as CSVLogger names them."""
    header = header_row(source.head_text) if source.path.is_file() else []
    names = set(header)
    if not {"epoch", "step"} <= names or any(canonical_run_name(n) == "run_id" for n in header):
        return False
    if not any("loss" in name.casefold() for name in names):
        return False
    split = any(f"{name.removesuffix('_step')}_epoch" in names for name in names if "_step" in name)
    return split or header == sorted(header) or (source.path.parent / HPARAMS).is_file()


def read(source: Source) -> Parsed:
    """Read one run; a loss logged a step and an epoch is the training loss by its steps.

    Raises
    ------
    DataError
        If the file is not such a table or has no record.
    """
    log = RunLog(source.name, source=str(source))
    header, rows = read_rows(source.path, log)
    names = _column_names(header)
    for row in rows:
        values = cells(row, names, log)
        log.add(values.pop("step", None), values)
    name_columns(log)
    _take_hparams(log, source.path.parent / HPARAMS)
    return parsed([log])


def _column_names(header: Sequence[str]) -> list[str | None]:
    """Return each column's name: the step's value of a loss, else the epoch's, has the plain one.

    ``train_loss_step`` is the training loss and ``train_loss_epoch`` its mean; of a validation loss
    it is the mean over the set, ``val_loss_epoch``, that counts.
    """
    taken = {metric_name(name) for name in header}
    names: dict[str, str] = {}
    for name in header:
        for suffix, loss in (("_step", "train_loss"), ("_epoch", "eval_loss")):
            means = metric_name(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if means == loss and loss not in taken:
                names[name] = loss
                taken.add(loss)
    rates = [name for name in header if name.startswith("lr-")]  # of LearningRateMonitor
    if len(rates) == 1 and "learning_rate" not in taken:
        names[rates[0]] = "learning_rate"
    return [names.get(name, name) for name in header]


def _take_hparams(log: RunLog, path: Path) -> None:
    if not path.is_file():
        return
    try:
        take_config(log, read_yaml(path))
    except UnreadableYamlError as error:
        log.notes.append(f"{path.name} beside it is not read: {error}")


FORMAT = Format("lightning-csv", sniff, read)
