"""Python that gives the numbers of the What-if page again."""

from __future__ import annotations

import numpy as np

from workbench.curves import POINTS
from workbench.recipes import NamedSchedule, TabulatedSchedule
from workbench.views.what_if_model import FITTED, WhatIfModel


def python_code(model: WhatIfModel, store: str) -> str:
    """Return Python that gives the surrogate's curve and the noisy quadratic of the page.

    Parameters
    ----------
    model : WhatIfModel
        The page's settings.
    store : str
        Where the runs are, as `workbench.open` takes it.

    Raises
    ------
    ArgumentError
        If drawn points describe no schedule.
    """
    schedule, name = _schedule(model)
    final = model.final_loss() is not None
    lines = [
        "import numpy as np",
        f"from workbench.recipes import {name}",
        "from workbench.laws.noisy_quadratic import noisy_quadratic_parts",
        *_fit(model, store, final=final),
        f"lr = {schedule}.factors({POINTS})",
        f"progress = np.arange(1, {POINTS + 1}) / {POINTS}",
        f"tau, tpp = {model.tau_value:g}, {model.tpp:g}",
        "curve = fit.predict(progress, tau=tau, tpp=tpp, lr_factor=lr)",
        f"kappa, floor = {model.kappa!r}, {model.floor_value!r}",
        "mode = noisy_quadratic_parts(lr, tau=tau, kappa=kappa, floor=floor)",
    ]
    if final:
        lines += [
            "law = next(e for e in data.ends if e.holds_at(tau=tau, tpp=tpp, lr_factor=lr))",
            f"size = {model.model_size!r}",
            "loss = law.band.at(6 * size * (tpp * size) / 1e15).loss  # compute 6ND in PFLOP",
        ]
    return "\n".join(lines)


def _fit(model: WhatIfModel, store: str, *, final: bool) -> list[str]:
    fitted = model.constants == FITTED
    lines = []
    if fitted or final:
        lines += [
            "import workbench as wb",
            "from workbench.views.what_if_data import family_data",
            f"data = family_data(wb.open({store!r})['runs'].to_dataset(), {model.family!r})",
        ]
    published = "from workbench.forecast import SLIMPAJAMA_LLAMA as fit"
    return [*lines, "fit = data.fit.fit" if fitted else published]


def _schedule(model: WhatIfModel) -> tuple[str, str]:
    """Return the code of a model's schedule and the name it needs."""
    found = model.schedule()
    if isinstance(found, TabulatedSchedule):
        x, rate = (np.round(v, 6).tolist() for v in (found.progress, found.learning_rate))
        return f"TabulatedSchedule({x}, {rate})", "TabulatedSchedule"
    assert isinstance(found, NamedSchedule)
    given = f"{found.name!r}, warmup_fraction={found.warmup_fraction!r}"
    if found.decay_share:
        given += f", decay_fraction={found.decay_share!r}"
        given += f", final_lr_fraction={found.final_lr_fraction!r}"
    return f"NamedSchedule({given})", "NamedSchedule"
