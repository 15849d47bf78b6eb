"""Bergsma et al. 2025, tables 1, 5, 6 and 7: symbols, the tuned proxy, the data mix."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.recipes import Scaling, timescale, tokens_for_tpp
from workbench.recipes.published import CELERITY_ERROR_OF_COMPUTE, ORIGINAL, power_lines_shape
from workbench.reports.papers import printed
from workbench.reports.papers.charts import Figure, Table
from workbench.reports.papers.claims import Claim, at_least, equal, near, number, untested
from workbench.schema import RECORD_FIELDS, RUN_FIELDS
from workbench.text import short_count

_SYMBOLS = (
    ("N", "parameters, the token table counted", "model_size"),
    ("D", "training tokens", "tokens_total"),
    ("B", "tokens of an optimiser step", "batch_size"),
    ("T", "optimiser steps, D/B", "total_steps"),
    ("TPP", "tokens per parameter, D/N", "tpp"),
    ("η", "peak learning rate after the width rule", "peak_lr"),
    ("λ", "AdamW weight decay", "weight_decay"),
    ("τ", "AdamW timescale as a share of the run, B/(ηλD)", "tau"),
    ("L(t)", "training loss at a step", "train_loss"),
)


def table_1(*, peak_lr: float = 3e-4, weight_decay: float = 0.1) -> Figure:
    """List the symbols of the paper and what they are called here.

    Parameters
    ----------
    peak_lr, weight_decay : float
        Learning rate η and decay λ of the worked example, Llama-2 7B

    Returns
    -------
    Figure
    """
    known = {**RUN_FIELDS, **RECORD_FIELDS}
    missing = [name for _, _, name in _SYMBOLS if name not in known]
    tau = timescale(peak_lr=peak_lr, weight_decay=weight_decay, batch_size=4e6, tokens_total=2e12)
    claims = [
        equal("Symbols without a name in the schema of runs", expected=0, found=len(missing)),
        near(
            "τ = B/(ηλD) of Llama-2 7B, 4M of 2T tokens a step", expected=0.067, found=tau, rel=0.01
        ),
    ]
    rows = [[symbol, meaning, name] for symbol, meaning, name in _SYMBOLS]
    table = Table("Symbols", ("Symbol", "Meaning", "Name here"), rows)
    return Figure(claims, tables=[table], answer="Every symbol has a name in the schema of runs.")


def table_5(*, weight_decay: float = 0.1, tpp: float = 80.0) -> Figure:
    """Carry the tuned proxy to 610M and compare the τ of its three sweeps with the printed ones.

    Parameters
    ----------
    weight_decay : float
        AdamW decay λ in the middle of the sweeps
    tpp : float
        Tokens per parameter of the sweeps

    Returns
    -------
    Figure
    """
    base = float(printed.PROXY["base learning rate"])
    sweeps = {
        "B": [_tau_610(n, base, weight_decay, tpp) for n in printed.SWEEP_SEQUENCES],
        "η": [_tau_610(504, lr, weight_decay, tpp) for lr in printed.SWEEP_BASE_LR],
        "λ": [_tau_610(504, base, decay, tpp) for decay in printed.SWEEP_WEIGHT_DECAY],
    }
    claims: list[Claim] = [
        near(
            f"τ made by {name}, printed {expected:g}",
            expected=expected,
            found=found,
            rel=0.015,
        )
        for name, values in sweeps.items()
        for expected, found in zip(printed.SWEEP_TAU, values, strict=True)
    ]
    proxy = power_lines_shape(int(printed.PROXY["width"]), int(printed.PROXY["layers"]))
    claims.append(
        untested(
            "Parameters of the proxy",
            expected=short_count(printed.PROXY_PARAMETERS),
            found=f"{short_count(proxy.model_size())} as a small original model",
            reason="its feed-forward width and token table are not printed",
        )
    )
    rows = [[name, number(value)] for name, value in printed.PROXY.items()]
    table = Table("The tuned proxy", ("Setting", "Value"), rows)
    answer = "The base learning rate of the proxy, divided by the width ratio, gives every τ."
    return Figure(claims, tables=[table], answer=answer)


def _tau_610(sequences: int, base_lr: float, weight_decay: float, tpp: float) -> float:
    shape = ORIGINAL["610M"]
    rule = Scaling("mup", width=shape.width, base_width=int(printed.PROXY["width"]))
    return float(
        timescale(
            peak_lr=base_lr * rule.groups()["hidden"].learning_rate,
            weight_decay=weight_decay,
            batch_size=float(sequences * shape.context),
            tokens_total=tokens_for_tpp(tpp, model_size=float(shape.model_size())),
        )
    )


def table_6(*, whole: float = 100.0) -> Figure:
    """Add up the data mix of Celerity.

    Parameters
    ----------
    whole : float
        What the shares should add up to [percent]

    Returns
    -------
    Figure
    """
    total = sum(printed.DATA_MIX.values())
    rows = [[name, f"{share:g} %"] for name, share in printed.DATA_MIX.items()]
    claims = [near("Sum of the shares", expected=whole, found=total, off=0.01, unit="%")]
    answer = f"The six sources add up to {total:.2f} %."
    return Figure(claims, tables=[Table("Data mix", ("Source", "Share"), rows)], answer=answer)


def table_7(*, compute_gain: float = 1.0) -> Figure:
    """Compare the data mix with SlimPajama alone, also in compute.

    Parameters
    ----------
    compute_gain : float
        Least factor of compute that the better mix should be worth

    Returns
    -------
    Figure
    """
    rows, claims = [], []
    law = CELERITY_ERROR_OF_COMPUTE
    for name, other in printed.SLIMPAJAMA_ACCURACY.items():
        own = printed.CELERITY_ACCURACY[name]
        factor = ((100 - other) / (100 - own)) ** (1 / law.exponent)
        rows.append([name, f"{own:g} %", f"{other:g} %", f"{own - other:.2f}", f"{factor:.2f}"])
        claims.append(
            at_least(
                f"{name}: compute that the mix is worth by the law of figure 2, as a factor",
                bound=compute_gain,
                found=factor,
            )
        )
    claims.append(
        equal("The gain is larger for the larger model", expected=True, found=_grows(rows))
    )
    head = ("Model", "Mix of table 6", "SlimPajama", "Points gained", "Worth in compute")
    answer = "The mix gains 0.92 points at 300M and 2.21 at 900M over SlimPajama."
    return Figure(claims, tables=[Table("Mean of seven tasks", head, rows)], answer=answer)


def _grows(rows: Sequence[Sequence[str]]) -> bool:
    return float(rows[1][3]) > float(rows[0][3])
