from __future__ import annotations

import numpy as np
import pytest

from workbench.collapse import comparison_sentence, two_normalisations
from workbench.curves import on_progress


def test_excess_collapses_exactly_where_the_floor_is_the_true_one(make_family):
    curves = on_progress(make_family(noise=0.01, irreducible_loss=1.7))
    whole, excess = two_normalisations(curves)
    assert excess.deviation_half < 1e-12
    assert excess.collapses
    assert not whole.collapses
    loss = curves.to_numpy()
    ell = (loss - 1.7) / (loss[:, -1:] - 1.7)
    np.testing.assert_allclose(excess.curves, ell)
    assert "Excess loss collapses at this scale" in comparison_sentence((whole, excess))
    assert "does not collapse at this scale" in comparison_sentence((excess, whole))


def test_without_seeds_it_is_not_judged(make_family):
    pair = two_normalisations(on_progress(make_family(seeds=(0,), irreducible_loss=1.7)))
    assert "cannot be judged without a second seed" in comparison_sentence(pair)


@pytest.mark.parametrize("floor", [np.nan, 99.0])
def test_a_floor_unknown_or_above_the_end_gives_nothing(make_family, floor):
    assert two_normalisations(on_progress(make_family(irreducible_loss=floor))) is None
    assert two_normalisations(on_progress(make_family())) is None
