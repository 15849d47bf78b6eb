"""Bergsma et al. 2025, figures 2 and 15 to 20 and table 10: accuracy and loss by printed laws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workbench.recipes.published import (
    CELERITY,
    CELERITY_ERROR_OF_COMPUTE,
    CELERITY_ERROR_OF_SIZE,
    CELERITY_ERROR_OF_TOKENS,
    ERROR_OF_SIZE,
    LOSS_OF_COMPUTE,
    PrintedLaw,
)
from workbench.reports.papers import printed
from workbench.reports.papers.charts import CATEGORIES, INK, Chart, Figure, Line, Points, Table
from workbench.reports.papers.claims import Claim, at_least, at_most, equal, near, untested

_NO_POINTS = (
    "of table 10 only the means of the five Celerity models are at hand, not their tasks and not "
    "the other families"
)
_FITTED = ("900M", "1.8B", "3.9B")
_FAMILIES = {
    "celerity": "Celerity",
    "smollm": "SmolLM",
    "smollm2": "SmolLM2",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3",
}


def _tokens() -> dict[str, float]:
    return {name: 1e9 * values[2] for name, values in printed.CELERITY_TOKENS.items()}


def _sizes() -> dict[str, float]:
    return {name: float(shape.model_size()) for name, shape in CELERITY.items()}


def _against(
    law: PrintedLaw, x: Mapping[str, float], *, axis: str, title: str, reach: float
) -> tuple[Chart, dict[str, float]]:
    """Draw the five measured means and a law; return also measured minus law."""
    values = np.array(list(x.values()))
    measured = np.array([printed.CELERITY_ACCURACY[name] for name in x])
    along = np.geomspace(values.min() / reach, values.max() * reach, 100)
    chart = Chart(
        title,
        axis,
        "Mean accuracy over seven tasks [percent]",
        [
            Line(along, law.accuracy(along), "printed law"),
            Points(values, measured, "Celerity, 234 TPP", CATEGORIES[0], tuple(x)),
        ],
        f"Acc = 100 − ({law.scale:.4g}/x)^{law.exponent:g}.",
        log_x=True,
    )
    off = dict(zip(x, (measured - law.accuracy(values)).tolist(), strict=True))
    return chart, off


def _law_claims(off: Mapping[str, float], within: float) -> list[Claim]:
    small = {name: value for name, value in off.items() if name not in _FITTED}
    return [
        at_most(
            "Largest distance of the three largest models from the law",
            bound=within,
            found=max(abs(off[name]) for name in _FITTED),
            unit="points",
        ),
        at_least(
            "The two smallest models lie above the law by at least",
            bound=1.5,
            found=min(small.values()),
            unit="points",
            reason="the printed law is one of the three largest models only",
        ),
    ]


def figure_2(*, within: float = 1.1) -> Figure:
    """Draw accuracy against training compute with the printed law.

    Parameters
    ----------
    within : float
        How near to the law the three largest models should lie [points]

    Returns
    -------
    Figure
    """
    law = CELERITY_ERROR_OF_COMPUTE
    chart, off = _against(
        law,
        printed.CELERITY_FLOPS,
        axis="Training compute [FLOP]",
        title="Accuracy against compute",
        reach=2.0,
    )
    values = {2.89e22: 65.36, 6.54e21: 59.99, 1.68e21: 54.35}
    claims = [
        *(
            near(
                f"Accuracy of the law at {flop:.2e} FLOP",
                expected=expected,
                found=float(law.accuracy(flop)),
                off=0.02,
                unit="%",
            )
            for flop, expected in values.items()
        ),
        *_law_claims(off, within),
        untested(
            "As accurate as BTLM-3B with 75 % fewer FLOP", expected="75 % fewer", reason=_NO_POINTS
        ),
    ]
    answer = (
        "The printed law passes within about a point of the three largest Celerity models and "
        "below the two smallest."
    )
    return Figure(claims, [chart], answer=answer)


def figure_16(*, within: float = 1.1) -> Figure:
    """Draw accuracy against compute once more, for the comparison that adds teachers' compute.

    Parameters
    ----------
    within : float
        How near to the law the three largest models should lie [points]

    Returns
    -------
    Figure
    """
    chart, off = _against(
        CELERITY_ERROR_OF_COMPUTE,
        printed.CELERITY_FLOPS,
        axis="Training compute, teachers included [FLOP]",
        title="Accuracy against compute with teachers",
        reach=2.0,
    )
    claims = [
        *_law_claims(off, within),
        untested(
            "Distilled families cost more for their accuracy once teachers are counted",
            expected="to the right of the law",
            reason=_NO_POINTS,
        ),
    ]
    answer = "Celerity has no teacher, so its points and law are those of figure 2."
    return Figure(claims, [chart], answer=answer)


def figure_17(*, within: float = 1.1) -> Figure:
    """Draw accuracy against training tokens with the printed law.

    Parameters
    ----------
    within : float
        How near to the law the three largest models should lie [points]

    Returns
    -------
    Figure
    """
    return _of_tokens(within, "families in general")


def figure_18(*, within: float = 1.1) -> Figure:
    """Draw accuracy against training tokens, for the comparison with distilled families.

    Parameters
    ----------
    within : float
        How near to the law the three largest models should lie [points]

    Returns
    -------
    Figure
    """
    return _of_tokens(within, "distilled families")


def _of_tokens(within: float, others: str) -> Figure:
    chart, off = _against(
        CELERITY_ERROR_OF_TOKENS,
        _tokens(),
        axis="Training tokens",
        title="Accuracy against tokens",
        reach=2.0,
    )
    claims = [
        *_law_claims(off, within),
        untested(
            f"Fewer tokens for the same accuracy than {others}", expected="fewer", reason=_NO_POINTS
        ),
    ]
    answer = "At a fixed number of tokens per parameter the law of tokens is that of size."
    return Figure(claims, [chart], answer=answer)


def figure_19(*, within: float = 1.1) -> Figure:
    """Draw accuracy against parameters with the printed law.

    Parameters
    ----------
    within : float
        How near to the law the three largest models should lie [points]

    Returns
    -------
    Figure
    """
    chart, off = _against(
        CELERITY_ERROR_OF_SIZE,
        _sizes(),
        axis="Parameters",
        title="Accuracy against size",
        reach=2.0,
    )
    ratio = _tokens()["1.8B"] / _sizes()["1.8B"]
    claims = [
        *_law_claims(off, within),
        near(
            "Law of tokens over law of size: tokens per parameter they stand for",
            expected=234,
            found=CELERITY_ERROR_OF_TOKENS.scale / CELERITY_ERROR_OF_SIZE.scale,
            rel=0.01,
            reason=f"1.8B has {ratio:.1f}",
        ),
    ]
    answer = "The laws of size and of tokens are one law at 234 tokens per parameter."
    return Figure(claims, [chart], answer=answer)


def figure_20(*, smallest: float = 135e6, largest: float = 9e9) -> Figure:
    """Draw the printed laws of accuracy against size of five families.

    Parameters
    ----------
    smallest, largest : float
        Ends of the axis [parameters]

    Returns
    -------
    Figure
    """
    sizes = np.geomspace(smallest, largest, 120)
    lines = [
        Line(sizes, law.accuracy(sizes), _FAMILIES[name], colour, width=2.4 if i == 0 else 1.6)
        for i, ((name, law), colour) in enumerate(
            zip(ERROR_OF_SIZE.items(), [INK, *CATEGORIES[:4]], strict=True)
        )
    ]
    chart = Chart(
        "Laws of five families",
        "Parameters",
        "Mean accuracy over seven tasks [percent]",
        lines,
        "100 − (scale/N)^exponent with the printed constants.",
        log_x=True,
    )
    steepest = max(ERROR_OF_SIZE, key=lambda name: ERROR_OF_SIZE[name].exponent)
    second = ERROR_OF_SIZE["smollm2"].accuracy(sizes) > ERROR_OF_SIZE["smollm"].accuracy(sizes)
    claims = [
        equal(
            "Family whose accuracy grows fastest with size",
            expected="Gemma 3",
            found=_FAMILIES[steepest],
        ),
        equal("SmolLM2 above SmolLM at every size", expected=True, found=bool(second.all())),
        untested("Each law fits its family", expected="by eye", reason=_NO_POINTS),
    ]
    answer = "Gemma 3 has the largest exponent, then Celerity; SmolLM the smallest."
    return Figure(claims, [chart], answer=answer)


def figure_15(*, at: float = 1e21) -> Figure:
    """Draw the printed laws of loss against compute of three parameterisations.

    Parameters
    ----------
    at : float
        Where the laws are compared [FLOP]

    Returns
    -------
    Figure
    """
    compute = np.geomspace(1e18, 1e23, 120)
    names = {"celerity": "Celerity", "completep": "CompleteP", "mup": "μP"}
    chart = Chart(
        "Loss against compute",
        "Training compute [FLOP]",
        "Loss [nats/token]",
        [
            Line(compute, LOSS_OF_COMPUTE[name](compute), label, colour)
            for (name, label), colour in zip(names.items(), CATEGORIES, strict=False)
        ],
        "(scale/C)^exponent with the printed constants; which is whose was read from the plot.",
        log_x=True,
        log_y=True,
    )
    found = {name: float(LOSS_OF_COMPUTE[name](at)) for name in names}
    claims = [
        equal(
            "CompleteP is steeper than μP",
            expected=True,
            found=LOSS_OF_COMPUTE["completep"].exponent > LOSS_OF_COMPUTE["mup"].exponent,
        ),
        near("CompleteP at 1e21 FLOP", expected=2.66, found=found["completep"], off=0.01),
        near("μP at 1e21 FLOP", expected=2.76, found=found["mup"], off=0.01),
        untested(
            "The runs behind the laws: CompleteP trains deep models better than μP",
            expected="lower loss at equal compute",
            reason="needs the family depth trained with both parameterisations",
        ),
    ]
    answer = f"At {at:.0e} FLOP CompleteP is {found['mup'] - found['completep']:.2f} nats lower."
    return Figure(claims, [chart], answer=answer)


def table_10(*, within: float = 1.1) -> Figure:
    """List the mean accuracy of Celerity with what the printed laws give for it.

    Parameters
    ----------
    within : float
        How near to a law the three largest models should lie [points]

    Returns
    -------
    Figure
    """
    rows, off = [], {}
    sizes, tokens = _sizes(), _tokens()
    for name, measured in printed.CELERITY_ACCURACY.items():
        by = (
            float(CELERITY_ERROR_OF_COMPUTE.accuracy(printed.CELERITY_FLOPS[name])),
            float(CELERITY_ERROR_OF_TOKENS.accuracy(tokens[name])),
            float(CELERITY_ERROR_OF_SIZE.accuracy(sizes[name])),
        )
        rows.append([name, f"{measured:.2f}", *(f"{value:.2f}" for value in by)])
        off[name] = max((measured - value for value in by), key=abs)
    head = ("Model", "Printed", "Law of compute", "Law of tokens", "Law of size")
    claims = [
        at_most(
            "Three largest models: largest distance from any of the three laws",
            bound=within,
            found=max(abs(off[name]) for name in _FITTED),
            unit="points",
        ),
        untested(
            "Accuracy task by task, and of other families", expected="table 10", reason=_NO_POINTS
        ),
    ]
    answer = "The means of the three largest models agree with the three laws drawn through them."
    return Figure(claims, tables=[Table("Mean accuracy [percent]", head, rows)], answer=answer)
