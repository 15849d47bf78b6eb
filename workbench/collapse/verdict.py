"""The verdict in words. It claims nothing the numbers do not carry."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.text import percent, percent_two_digits, plural

HALF = 0.5


@dataclass(frozen=True)
class Verdict:
    """Tag, headline, one sentence with the ratio half-way, caveats."""

    tag: str
    headline: str
    sentence: str
    caveats: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(
            part for part in (f"{self.tag}: {self.headline}.", self.sentence, *self.caveats) if part
        )


def write_verdict(
    *,
    n_runs: int,
    n_sizes: int,
    offset_label: str,
    delta_half: float,
    sigma_half: float | None,
    beyond: float | None,
    odd: tuple[str, float, float | None] | None,
    outside: tuple[str, ...],
    mixed: tuple[str, ...],
    spread_half: float,
    intervals: str = "",
    notes: tuple[str, ...] = (),
) -> Verdict:
    """Say what the statistics show.

    Parameters
    ----------
    n_runs, n_sizes : int
        What was compared.
    offset_label : str
        Such as "With no offset".
    delta_half, sigma_half : float
        Δ and σ half-way; σ None without seeds.
    beyond : float or None
        From where on Δ < σ.
    odd : (run_id, largest residual, beyond without it) or None
        The odd one out.
    outside : tuple of str
        Sizes whose mean curve is outside the noise of the family's beyond half-way.
    mixed : tuple of str
        Labels of the matched groups when there are several.
    spread_half : float
        max − min of ℓ half-way.
    intervals : str
        What is known about the uncertainty of these numbers, as one or two sentences.
    notes : tuple of str
        Further caveats, such as on the offset.
    """
    sizes = plural(n_sizes, "size")
    intervals = f" {intervals}" if intervals else ""
    caveats = [*_mixed(mixed), *_odd(odd), *notes]
    if n_sizes < 2:
        return Verdict(
            "Needs two sizes",
            f"{plural(n_runs, 'run')} of one size: nothing to compare across sizes",
            f"{offset_label}, half-way: Δ across runs is {percent_two_digits(delta_half)}.",
            tuple(caveats),
        )
    if sigma_half is None:
        return Verdict(
            "Needs two seeds of one size",
            f"{plural(n_runs, 'run')} of {sizes} drawn, no seed noise to compare with",
            f"{offset_label}, half-way: the normalised curves lie within {spread_half:.2g} of one "
            f"another, Δ = {percent_two_digits(delta_half)}.{intervals}",
            tuple(caveats),
        )
    sentence = _half_way(offset_label, delta_half, sigma_half) + intervals
    if beyond is not None and beyond <= HALF:
        caveats.append("Towards the end Δ falls to 0 by construction.")
        headline = f"{sizes} follow one curve from {percent(beyond)} of training on"
        return Verdict("Supercollapse", headline, sentence, tuple(caveats))
    if 0 < len(outside) < n_sizes:
        caveats.append(f"Outside the noise beyond half-way: {', '.join(outside)}.")
    where = f"until {percent(beyond)} of training" if beyond is not None else "everywhere"
    sentence = (
        f"{_half_way(offset_label, delta_half, sigma_half)} All curves lie within "
        f"{spread_half:.2g} of one another there.{intervals}"
    )
    headline = f"{sizes} differ by more than seeds {where}"
    return Verdict("No supercollapse", headline, sentence, tuple(caveats))


def _half_way(offset_label: str, delta: float, sigma: float) -> str:
    if delta == 0 or sigma == 0:
        return (
            f"{offset_label}, half-way: the spread across runs is {percent_two_digits(delta)}, "
            f"seed noise {percent_two_digits(sigma)}."
        )
    ratio = delta / sigma
    compared = f"{1 / ratio:.1f} times smaller" if ratio < 1 else f"{ratio:.1f} times larger"
    return (
        f"{offset_label}, half-way: the spread across runs, {percent_two_digits(delta)}, is "
        f"{compared} than seed noise, {percent_two_digits(sigma)}."
    )


def _mixed(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(labels) < 2:
        return ()
    named = "; ".join(labels[:3]) + ("; …" if len(labels) > 3 else "")
    return (f"{len(labels)} settings are mixed, which separates curves by itself: {named}.",)


def _odd(odd: tuple[str, float, float | None] | None) -> tuple[str, ...]:
    if odd is None:
        return ()
    run_id, size, without = odd
    text = f"Odd one out: run {run_id}, up to {percent_two_digits(size)} off the mean curve"
    return (
        text
        + (f"; without it Δ < σ from {percent(without)}." if without and without <= HALF else "."),
    )
