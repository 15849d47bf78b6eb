"""Words and tables of a collapse report as HTML; every text that comes from data is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import xarray as xr

from workbench.collapse import CollapseReport, residual
from workbench.curves import final_loss
from workbench.laws import Estimate
from workbench.reports.figures import Html
from workbench.text import percent, percent_two_digits, plural
from workbench.views.format import interval, value_text
from workbench.views.format import loss as loss_text

SHARES = (0.2, 0.5, 0.8)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, label: str) -> Html:
    """Return an HTML table that scrolls by itself on a narrow page."""
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return Html(
        f'<div class="table" role="region" tabindex="0" aria-label="{escape(label)}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def facts(rows: Mapping[str, str], *, label: str) -> Html:
    """Return a two-column table of names and what is known about them."""
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return Html(
        f'<div class="table facts" role="region" tabindex="0" aria-label="{escape(label)}">'
        f"<table><tbody>{body}</tbody></table></div>"
    )


def verdict_card(report: CollapseReport) -> Html:
    """Return the verdict first: tag, headline, sentence, caveats and three key numbers."""
    verdict = report.verdict
    tone = "ok" if report.holds else "no"
    caveats = "".join(f"<li>{escape(text)}</li>" for text in verdict.caveats)
    numbers = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>"
        for value, name in _key_numbers(report)
    )
    return Html(
        f'<section class="verdict"><div><span class="tag {tone}">{escape(verdict.tag)}</span>'
        f"<h2>{escape(verdict.headline)}</h2><p>{escape(verdict.sentence)}</p>"
        f'<ul>{caveats}</ul></div><div class="numbers">{numbers}</div></section>'
    )


def _key_numbers(report: CollapseReport) -> list[tuple[str, str]]:
    sigma = report.noise_floor
    beyond = "nowhere" if report.beyond is None else f"from {percent(report.beyond)}"
    return [
        (percent_two_digits(_at(report.deviation, 0.5)), "Δ half-way, across runs"),
        ("no seeds" if sigma is None else percent_two_digits(_at(sigma, 0.5)), "σ half-way, seeds"),
        ("no seeds" if sigma is None else beyond, "of training Δ < σ"),
    ]


def numbers_table(report: CollapseReport) -> Html:
    """Return Δ, σ and their ratio at 20, 50 and 80 % of training, and their means."""
    summary, sigma = report.to_dict(), report.noise_floor
    rows = []
    for share in SHARES:
        delta = _at(report.deviation, share)
        noise = None if sigma is None else _at(sigma, share)
        rows.append([f"at {percent(share)}", *_compared(delta, noise)])
    window = report.deviation["progress"] >= report.start
    noise = None if sigma is None else float(sigma.where(window).mean())
    mean = _compared(summary["deviation_mean"], noise)
    mean[2] = "no seeds" if sigma is None else f"{summary['ratio_mean']:.2f}"
    rows.append([f"mean from {percent(report.start)} on", *mean])
    head = ("Progress", "Δ, sd/mean across runs", "σ, sd/mean across seeds", "Δ / σ")
    return table(head, rows, label="Deviation and noise floor")


def _compared(delta: float, sigma: float | None) -> list[str]:
    if sigma is None:
        return [percent_two_digits(delta), "no seeds", "no seeds"]
    return [percent_two_digits(delta), percent_two_digits(sigma), f"{delta / sigma:.2f}"]


def answers_table(report: CollapseReport) -> Html:
    """Return where Δ < σ, the spread over the excess, the offset and what the fit pins down."""
    offset, fit = report.offset, report.offset.fit
    value, lower, upper = report.excess_spread
    worst = report.worst_run
    rows = {
        "Compared": f"{plural(report.curves.sizes['run'], 'run')} of "
        f"{plural(len(report.sizes), 'size')}, {report.curves.attrs['loss']}, "
        f"smoothing {report.curves.attrs['smoothing']}",
        "Δ < σ": _where(report),
        "Mean sd(ℓ) / mean (⟨ℓ⟩ − 1)": f"{value:.3g} (95 % interval {lower:.3g} to {upper:.3g})",
        "Furthest from the mean": f"{worst['run_id']}, {_signed(worst['residual'], '.1f')} at "
        f"{percent(worst['at'])} of training",
        "Offset": f"{loss_text(offset.value, digits=4)} nats/token; {offset.method}",
    }
    if fit is not None:
        level = f"{percent(fit.level)} interval"
        rows["L0"] = (
            f"{loss_text(fit.L0.estimate, digits=4)} nats/token ({level} "
            f"{interval(fit.L0.lower, fit.L0.upper, digits=4)}), "
            + ("identified" if fit.identified else "not identified")
        )
        rows["Power law"] = (
            f"{fit.formula}; a {_estimate(fit.a)}, b {_estimate(fit.b)}; objective "
            f"{fit.objective:.3g} over {plural(fit.n_points, 'end point')}"
        )
        rows |= {f"Warning {i}": text for i, text in enumerate(fit.warnings, start=1)}
    return facts(rows, label="Answers")


def _estimate(found: Estimate) -> str:
    return f"{found.estimate:.4g} ({found.lower:.4g} to {found.upper:.4g})"


def _where(report: CollapseReport) -> str:
    if report.noise_floor is None:
        return "cannot be said: no setting has two seeds"
    if report.beyond is None:
        return "nowhere before the end"
    judged = "holds" if report.holds else "does not hold, since that is past half-way"
    return f"at every point from {percent(report.beyond)} of training to the end; {judged}"


def runs_table(report: CollapseReport, curves: xr.DataArray) -> Html:
    """Return the compared runs with their controls, final loss and largest residual.

    Parameters
    ----------
    report : CollapseReport
        The report.
    curves : DataArray (run, progress)
        The loss curves [nats/token] it was made from.
    """
    kept = curves.set_index(run="run_id").sel(run=report.curves["run_id"].to_numpy())
    late = residual(report.curves).where(report.curves["progress"] >= report.start)
    final = final_loss(kept).to_numpy()
    largest = [float(row[abs(row).argmax()]) for row in late.fillna(0.0).to_numpy()]
    names = ("model_size", "tau", "tpp", "schedule", "seed")
    columns = [[value_text(n, v) for v in kept[n].to_numpy().tolist()] for n in names]
    columns.append([loss_text(float(value), digits=4) for value in final])
    columns.append([_signed(value, ".2f") for value in largest])
    rows = list(zip(report.curves["run_id"].to_numpy().tolist(), *columns, strict=True))
    head = ("Run", "Size", "τ", "TPP", "Schedule", "Seed", "Final loss [nats/token]")
    return table((*head, "Largest residual"), rows, label="Runs")


def left_out_table(report: CollapseReport) -> Html:
    """Return the runs that were not compared, each with its reason."""
    if not report.left_out:
        return Html("<p>Nothing: every selected run was compared.</p>")
    rows = [(row["run_id"], row["reason"]) for row in report.left_out]
    return table(("Run", "Why it was left out"), rows, label="Left out")


def parameters_table(parameters: Mapping[str, Any]) -> Html:
    """Return the parameters a notebook ran with."""
    return facts({name: _said(value) for name, value in parameters.items()}, label="Parameters")


def _said(value: Any) -> str:
    if value is None or value in ("", []):
        return "not given"
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def hashes_table(hashes: Mapping[str, str]) -> Html:
    """Return the sha256 of every run, folded away."""
    text = table(("Run", "sha256"), hashes.items(), label="Data hashes").text
    said = f"sha256 of {plural(len(hashes), 'run')}"
    return Html(f"<details><summary>{said}</summary>{text}</details>")


def heading(text: str) -> Html:
    """Return a heading for a section that is not always there."""
    return Html(f"<h2>{escape(text)}</h2>")


def lines(text: str) -> Html:
    """Return text line by line, as it is."""
    return Html(f"<pre>{escape(text)}</pre>")


def paragraph(text: str) -> Html:
    """Return text as a paragraph."""
    return Html(f"<p>{escape(text)}</p>")


def _signed(share: float, digits: str) -> str:
    return f"{100 * share:+{digits}} %".replace("-", "−")


def _at(curve: xr.DataArray, share: float) -> float:
    return float(curve.sel(progress=share, method="nearest"))
