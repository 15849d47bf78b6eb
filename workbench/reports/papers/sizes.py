"""Bergsma et al. 2025, tables 2, 3, 4, 8 and 9: sizes, tokens and compute from the shapes."""

from __future__ import annotations

import numpy as np

from workbench.recipes import tokens_for_tpp
from workbench.recipes.published import (
    CELERITY,
    CELERITY_CONTEXT,
    CELERITY_SEQUENCES,
    CELERITY_TPP,
    ORIGINAL,
)
from workbench.reports.papers import printed
from workbench.reports.papers.charts import CATEGORIES, Chart, Figure, Points, Table
from workbench.reports.papers.claims import at_least, near, number
from workbench.text import short_count


def table_2(*, exponent: float = 0.5) -> Figure:
    """Work out the parameters of Celerity from its shapes, and how its batch grows.

    Parameters
    ----------
    exponent : float
        Exponent of the batch size in the training tokens that the paper states

    Returns
    -------
    Figure
    """
    rows, claims = [], []
    for name, shape in CELERITY.items():
        batch = CELERITY_SEQUENCES[name] * CELERITY_CONTEXT / 1e6
        rows.append(
            [
                name,
                f"{shape.width}",
                f"{shape.depth}",
                f"{shape.heads}",
                short_count(float(shape.model_size())),
                f"{CELERITY_SEQUENCES[name]}",
                f"{batch:.2f}",
            ]
        )
        claims += [
            near(
                f"Parameters of {name}",
                expected=printed.CELERITY_PARAMETERS[name],
                found=float(shape.model_size()),
                rel=0.003,
            ),
            near(
                f"Batch of {name}",
                expected=printed.CELERITY_BATCH[name],
                found=batch,
                rel=0.003,
                unit="M tokens",
            ),
        ]
    tokens = np.array([printed.CELERITY_TOKENS[name][2] for name in CELERITY])
    sequences = np.array([CELERITY_SEQUENCES[name] for name in CELERITY], dtype=float)
    slope = float(np.polyfit(np.log(tokens), np.log(sequences), 1)[0])
    claims.append(near("Exponent of the batch in tokens", expected=exponent, found=slope, off=0.01))
    head = ("Model", "Width", "Layers", "Heads", "Parameters", "Sequences", "Batch [M tokens]")
    chart = Chart(
        "Batch size against training tokens",
        "Training tokens at 234 tokens per parameter [billion]",
        "Sequences of 8192 tokens a step",
        [Points(tokens, sequences, "", CATEGORIES[0], tuple(CELERITY))],
        f"Slope of the logarithms {slope:.3f}.",
        log_x=True,
        log_y=True,
    )
    answer = (
        "The printed shapes give the printed parameters once both token tables are counted, and "
        f"the batch grows with tokens to the power {slope:.2f}."
    )
    return Figure(claims, [chart], [Table("Celerity", head, rows)], answer)


def table_3(*, tolerance: float = 0.02) -> Figure:
    """Work out the parameters of the original family from its shapes.

    Parameters
    ----------
    tolerance : float
        Largest relative difference from the size in a model's name

    Returns
    -------
    Figure
    """
    rows, claims = [], []
    for name, shape in ORIGINAL.items():
        size = float(shape.model_size())
        rows.append([name, f"{shape.width}", f"{shape.depth}", f"{shape.ffn_width}", number(size)])
        claims.append(
            near(
                f"Parameters of {name}",
                expected=printed.ORIGINAL_PARAMETERS[name],
                found=size,
                rel=tolerance,
                reason="the names are rounded; the table of tokens is counted once",
            )
        )
    flops = [6 * 20 * float(shape.model_size()) ** 2 for shape in ORIGINAL.values()]
    claims.append(
        near(
            "Compute of the largest over the smallest at equal tokens per parameter",
            expected=1000,
            found=flops[-1] / flops[0],
            rel=0.1,
        )
    )
    head = ("Model", "Width", "Layers", "Feed-forward width", "Parameters")
    answer = "The shapes give sizes near their names, over a thousand-fold range of compute."
    return Figure(claims, tables=[Table("Original family", head, rows)], answer=answer)


def table_4(*, tolerance: float = 0.01) -> Figure:
    """Count the curves of the original family and work out their tokens.

    Parameters
    ----------
    tolerance : float
        Largest relative difference of the count from the about 600 of the text

    Returns
    -------
    Figure
    """
    rows = []
    for name, counts in printed.INVENTORY.items():
        size = float(ORIGINAL[name].model_size())
        for tpp, count in counts.items():
            tokens = float(tokens_for_tpp(float(tpp), model_size=size))
            rows.append([name, f"{tpp}", short_count(tokens), f"{count}"])
    total = sum(sum(counts.values()) for counts in printed.INVENTORY.values())
    claims = [
        near("Curves in all", expected=printed.CURVES_IN_ALL, found=total, rel=tolerance),
        near(
            "Tokens of 111M at 20 tokens per parameter",
            expected=2.19e9,
            found=20.0 * ORIGINAL["111M"].model_size(),
            rel=0.003,
        ),
        near(
            "Tokens of 610M at 80 tokens per parameter",
            expected=48.5e9,
            found=80.0 * ORIGINAL["610M"].model_size(),
            rel=0.003,
        ),
    ]
    table = Table("Curves", ("Model", "TPP", "Tokens", "Curves"), rows)
    return Figure(claims, tables=[table], answer=f"The inventory holds {total} curves.")


def table_8(*, tolerance: float = 0.007) -> Figure:
    """Work out the tokens of Celerity from its parameters.

    Parameters
    ----------
    tolerance : float
        Largest relative difference of tokens over parameters from the label

    Returns
    -------
    Figure
    """
    rows, claims = [], []
    for name, tokens in printed.CELERITY_TOKENS.items():
        size = float(CELERITY[name].model_size())
        rows.append([name, *(f"{value:g}" for value in tokens)])
        claims += [
            near(
                f"Tokens per parameter of {name}, label {tpp}",
                expected=tpp,
                found=billions * 1e9 / size,
                rel=tolerance,
            )
            for tpp, billions in zip(CELERITY_TPP, tokens, strict=True)
        ]
    head = ("Model", *(f"{tpp} TPP [billion tokens]" for tpp in CELERITY_TPP))
    answer = "The printed tokens over the parameters worked out here give the three labels."
    return Figure(claims, tables=[Table("Tokens", head, rows)], answer=answer)


def table_9(*, tolerance: float = 0.005) -> Figure:
    """Work out the training compute of Celerity term by term.

    Parameters
    ----------
    tolerance : float
        Largest relative difference from the printed FLOP

    Returns
    -------
    Figure
    """
    rows, claims, gaps = [], [], []
    for name, flop in printed.CELERITY_FLOPS.items():
        shape = CELERITY[name]
        tokens = printed.CELERITY_TOKENS[name][2] * 1e9
        found = float(shape.flops(tokens, "table9"))
        once = found - 6 * shape.depth * tokens * shape.width**2
        gaps.append(abs(once / flop - 1))
        rows.append(
            [
                name,
                number(flop),
                number(found),
                number(once),
                number(6 * shape.model_size() * tokens),
            ]
        )
        claims.append(near(f"FLOP of {name}", expected=flop, found=found, rel=tolerance))
    claims.append(
        at_least(
            "Without the 2Dd² of the projection: smallest relative difference",
            bound=tolerance,
            found=min(gaps),
            reason="so the printed digits do contain it twice",
        )
    )
    head = ("Model", "Printed", "Table 9", "Without the term 2Dd²", "6ND")
    answer = "The formula of table 9 gives all five printed FLOP, its 2Dd² term kept."
    return Figure(claims, tables=[Table("FLOP at 234 TPP", head, rows)], answer=answer)
