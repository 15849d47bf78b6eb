"""nanoGPT: ``iter 10: loss 3.2, time 99ms, mfu 38.1%`` and ``step 9: train loss 3, val loss 3``.

The loss of ``iter N`` is that of one micro-batch of step N. The train loss of ``step N`` is an
estimate over ``eval_iters`` batches without dropout, so it is kept apart.
"""

from __future__ import annotations

import re

from workbench.io.configs import take_config
from workbench.io.lines import Columns, has_line, literal, number, read_lines
from workbench.io.result import Format, Parsed, Source
from workbench.io.runlog import RunLog, parsed

_ITER = re.compile(r"iter ([0-9]+): loss (\S+?), time (\S+?)ms(?:, mfu (\S+?)%)?\s*")
_EVAL = re.compile(r"step ([0-9]+): train loss (\S+?), val loss (\S+)\s*")
_STARTS = re.compile(
    r"^(?:iter [0-9]+: loss \S+, time |step [0-9]+: train loss \S+, val loss )", re.MULTILINE
)
_SETTING = re.compile(r"(?:Overriding: )?([a-z]\w{0,60}) ?= ?(\S.{0,300})")
PARAMETERS = re.compile(
    r"num (?:non-)?decayed parameter tensors: [0-9]+, with ([0-9,]+) parameters"
)
_HEADER = re.compile(r"(tokens per iteration will be|number of parameters): ([0-9.,]+)(M?)\s*")


def sniff(source: Source) -> bool:
    """Tell whether there is a line of a training step or of an evaluation."""
    return has_line(source, _STARTS)


def read(source: Source) -> Parsed:
    """Read the console output of ``train.py``.

    Parameters
    ----------
    source : Source
        Settings are taken from the config file that the script prints and from what it says it
        overrides, not from its defaults, which it does not print.

    Raises
    ------
    DataError
        If it holds no record.
    """
    log = RunLog(source.name, source=str(source))
    columns = Columns(log)
    config: dict[str, float | str] = {}
    sizes: dict[str, float] = {}
    in_config = False
    for line in read_lines(source.path, log):
        if line.startswith("iter ") and (found := _ITER.fullmatch(line)):
            names = ("train_loss", "step_time_ms", "mfu")
            log.add(float(found[1]), columns.take(zip(names, found.groups()[1:], strict=True)))
            in_config = False
        elif line.startswith("step ") and (found := _EVAL.fullmatch(line)):
            texts = (("train_loss_estimate", found[2]), ("eval_loss", found[3]))
            log.add(float(found[1]), columns.take(texts))
            in_config = False
        elif line.startswith("Overriding config with "):
            in_config = True
        elif in_config or line.startswith(("Overriding: ", "tokens ", "num")):
            _take_line(line, config, sizes)
    _take_sizes(log, sizes)
    take_config(log, config)
    return parsed([log])


def _take_line(line: str, config: dict[str, float | str], sizes: dict[str, float]) -> None:
    """Take what a line before the training loop says of the run."""
    if found := PARAMETERS.match(line):
        sizes["decayed" if line.startswith("num d") else "other"] = number(found[1]) or 0.0
    elif found := _HEADER.fullmatch(line):
        value = number(found[2])
        if value is not None and found[1].startswith("tokens"):
            config["tokens_per_iter"] = value
        elif value is not None:
            sizes["reported"] = value * (1e6 if found[3] else 1.0)
    elif found := _SETTING.fullmatch(line):
        setting = literal(found[2])
        if setting is not None:
            config[found[1]] = setting


def _take_sizes(log: RunLog, sizes: dict[str, float]) -> None:
    if "decayed" in sizes and "other" in sizes:
        log.settings["model_size"] = sizes["decayed"] + sizes["other"]
    elif "reported" in sizes:
        log.settings["model_size"] = sizes["reported"]
        log.notes.append(
            f"parameters taken as {sizes['reported']:g}, which nanoGPT rounds and counts without "
            "position embeddings"
        )


FORMAT = Format("nanogpt", sniff, read)
