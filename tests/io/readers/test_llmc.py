from __future__ import annotations

import numpy as np
import pytest

from tests.io.readers.columns import column
from workbench.errors import DataError
from workbench.io import read

LOG = """\
s:0 tel:11.0001
s:0 eval:0.2463
s:0 trl:11.0012 lr:0.000001 norm:15.31
s:1 trl:10.9134 lr:0.000002 norm:-nan
s:2 trl:nan lr:0.000003 norm:1.25
s:2 tel:9.8765
"""


def test_public_log_has_every_value(shared_logs):
    (path,) = (shared_logs / "llmc_main_log").iterdir()
    result = read(path)
    assert [row["format"] for row in result.report.imported] == ["llmc"]
    steps, losses = column(result, "train_loss")
    assert (len(losses), losses[0], losses[-1]) == (9536, 10.965596, 3.340180)
    assert steps.tolist() == list(range(9536))
    assert losses.sum() == pytest.approx(34971.520093, abs=1e-6)
    steps, losses = column(result, "eval_loss")
    assert (len(losses), losses[0], losses[-1]) == (76, 10.968871, 3.275959)
    assert steps[:3].tolist() == [0, 128, 256]
    assert steps[-1] == 9536
    assert losses.sum() == pytest.approx(282.123188, abs=1e-6)


def test_every_kind_of_line(tmp_path):
    path = tmp_path / "main.log"
    path.write_text(LOG)
    result = read(path)
    assert result.runs["step"].to_numpy().tolist() == [0, 1, 2]
    np.testing.assert_array_equal(result.runs["train_loss"], [11.0012, 10.9134, np.nan])
    np.testing.assert_array_equal(result.runs["eval_loss"], [11.0001, np.nan, 9.8765])
    np.testing.assert_array_equal(result.runs["hellaswag_accuracy"], [0.2463, np.nan, np.nan])
    np.testing.assert_array_equal(result.runs["learning_rate"], [1e-6, 2e-6, 3e-6])
    np.testing.assert_array_equal(result.runs["grad_norm"], [15.31, np.nan, 1.25])


def test_a_resumed_run_keeps_what_was_logged_last(tmp_path):
    path = tmp_path / "main.log"
    path.write_text("s:0 trl:11.0\ns:1 trl:10.5\ns:2 trl:10.0\ns:1 trl:10.4\ns:2 trl:9")
    result = read(path)
    np.testing.assert_array_equal(result.runs["train_loss"], [11.0, 10.4, 10.0])
    notes = " ".join(result.report.notes)
    assert "1 value of 'main' logged again" in notes
    assert "left out 1 line without a line end" in notes


def test_lines_of_something_else_are_counted(tmp_path):
    path = tmp_path / "main.log"
    path.write_text("s:0 trl:11.0\nhello\n\ns:x trl:1\ns:1 trl:oops\n")
    notes = " ".join(read(path).report.notes)
    assert "left out 2 lines without a record of llm.c" in notes
    assert "left out 1 value" in notes


def test_a_log_without_a_record_is_refused(tmp_path):
    path = tmp_path / "main.log"
    path.write_text("hello\n")
    with pytest.raises(DataError, match="holds no record"):
        read(path, format="llmc")
