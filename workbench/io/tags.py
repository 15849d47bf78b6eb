"""Which of the tags of a tracker is which column of the schema.

The schema knows the plain names and their aliases. Trackers put groups before or behind them
(``Loss/train``, ``lm loss validation``, ``optim/lr``) and log several that could be meant; the
first of a list is then taken, and said when its name is not one of the schema's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from workbench.schema import RECORD_FIELDS, canonical_record_name

# Folded tags by column, the likelier first: plain losses of a step before means of an epoch,
# validation before test.
_TAGS = {
    "train_loss": (
        "train_loss",
        "training_loss",
        "loss_train",
        "loss_training",
        "train_loss_step",
        "train_lm_loss",
        "lm_loss",
        "loss_metrics_global_avg_loss",
        "trainloss",
        "train_cross_entropy",
        "train_crossentropyloss",
        "loss",
        "train_loss_epoch",
    ),
    "eval_loss": (
        "eval_loss",
        "val_loss",
        "valid_loss",
        "validation_loss",
        "loss_eval",
        "loss_val",
        "loss_valid",
        "loss_validation",
        "eval_lm_loss",
        "val_lm_loss",
        "lm_loss_validation",
        "validation_metrics_loss",
        "val_loss_epoch",
        "dev_loss",
        "loss_dev",
        "test_loss",
        "loss_test",
    ),
    "learning_rate": (
        "learning_rate",
        "lr",
        "train_lr",
        "train_learning_rate",
        "optim_lr",
        "optim_learning_rate",
        "optimizer_lr",
        "lr_adamw",
        "lr_adam",
        "learning_rate_group_0",
    ),
    "grad_norm": (
        "grad_norm",
        "train_grad_norm",
        "gradient_norm",
        "grad_norm_total",
        "optim_grad_norm",
        "optim_total_grad_norm",
    ),
    "tokens": ("tokens", "tokens_seen", "n_tokens_seen", "train_tokens_seen", "consumed_tokens"),
}


def fold(tag: str) -> str:
    """Return a tag in lower case, with ``_`` for whatever is no letter or digit."""
    return re.sub(r"[\W_]+", "_", tag.casefold()).strip("_")


def columns_of(tags: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Return the name of each tag's column, and notes on what was taken for what.

    Parameters
    ----------
    tags : iterable of str
        Different tags of one run.

    Returns
    -------
    dict of str to str
        Schema names where one is meant, else the tag itself. A tag called like the step, which a
        run has anyway, becomes ``logged_TAG``.
    list of str
        Notes.
    """
    names = list(dict.fromkeys(tags))
    folded: dict[str, str] = {}
    for tag in names:
        folded.setdefault(fold(tag), tag)
    out: dict[str, str] = {}
    notes = []
    for column, candidates in _TAGS.items():
        found = column if column in names else None
        found = found or next((folded[each] for each in candidates if each in folded), None)
        if found is None or found in out:
            continue
        out[found] = column
        if canonical_record_name(found) != column:
            notes.append(f"{found!r} is taken as {column}")
    for tag in names:
        known = canonical_record_name(tag)
        own = f"logged_{tag}" if known == "step" else tag
        if known in out.values() and known in RECORD_FIELDS and tag not in out:
            notes.append(f"{tag!r} is kept under its own name: {known} is taken from another tag")
        out.setdefault(tag, own)
    return out, notes
