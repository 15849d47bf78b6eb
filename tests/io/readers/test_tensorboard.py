from __future__ import annotations

import json
import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tests.io.event_bytes import (
    block,
    event,
    losses,
    mutations,
    rich,
    scalar,
    session_start,
    tensor,
    version,
)
from workbench.errors import DataError
from workbench.io import event_files, read
from workbench.io.formats import format_of
from workbench.io.result import Source
from workbench.schema import run_names

NAME = "events.out.tfevents.{}.host"


def put(folder, content, *, number=1):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME.format(number)
    path.write_bytes(content)
    return path


def curve(runs, column="train_loss"):
    known = np.isfinite(runs[column].to_numpy())
    return dict(
        zip(runs["step"].to_numpy()[known].tolist(), runs[column].to_numpy()[known], strict=True)
    )


def notes(result):
    return " ".join(result.report.notes)


@pytest.fixture
def writer():
    """Return PyTorch's writer, or tensorboardX's, which some use without PyTorch."""
    pytest.importorskip("tensorboard")
    torch_writer = pytest.importorskip("torch.utils.tensorboard")
    return torch_writer.SummaryWriter


def test_the_public_sample_agrees_with_the_table_beside_it(shared_logs):
    folder = shared_logs / "tensorboard_tfevents_with_csv" / "criteo_schedfree_s0_t1"
    result = read(folder)
    runs = result.runs
    # Each number of the table is one scalar of the file; the 3 logged again at the end stand in a
    # row of their own, and those of the two columns that had them are the same numbers.
    rows = pd.read_csv(folder / "measurements.csv")
    assert rows.count().sum() == 567
    table = rows.groupby("global_step", as_index=False).last()
    assert runs["step"].to_numpy().tolist() == table["global_step"].tolist()
    assert "logged again" not in notes(result)
    columns = {"train/loss": "train_loss", "validation/loss": "eval_loss"}
    for given in table.columns.drop("global_step"):
        values = runs[columns.get(given, given.replace("/", "_"))].to_numpy()
        np.testing.assert_array_equal(values, table[given].to_numpy(np.float32).astype(float))
    settings = json.loads((folder / "hparams.json").read_text())
    assert runs["peak_lr"].item() == settings["learning_rate"]
    assert runs["weight_decay"].item() == settings["weight_decay"]
    assert runs["dropout_rate"].item() == settings["dropout_rate"]
    assert "'validation/loss' is taken as eval_loss" in notes(result)
    assert "2 tables beside the event files not read" in notes(result)


def test_the_generated_sample_keeps_every_scalar(shared_logs):
    runs = read(shared_logs / "tensorboard_simple_value_generated").runs
    counted = sum(
        int(np.isfinite(runs[name].to_numpy()).sum())
        for name in ("train_loss", "learning_rate", "grad_norm", "eval_loss")
    )
    assert counted == 11523
    assert runs.sizes["obs"] == 3816
    assert (np.diff(runs["wall_time"].to_numpy()) >= 0).all()


def test_fifteen_thousand_points_in_fifteen_thousand_out(tmp_path, writer):
    rng = np.random.default_rng(0)
    logged = rng.normal(3, 1, 15_000)
    logged[[7, 9]] = np.nan, np.inf
    with writer(str(tmp_path / "run")) as log:
        for step, value in enumerate(logged):
            log.add_scalar("Loss/train", value, step, walltime=1e9 + step)
            log.add_scalar("optim/lr", value, step, new_style=True)
            log.add_scalar("exact", value, step, new_style=True, double_precision=True)
            if step % 500 == 0:
                log.add_scalar("Loss/val", value, step)
                log.add_histogram("weights", logged[:10], step)
        log.add_text("config", json.dumps({"weight_decay": 0.1, "model": {"n_layer": 4}}))
    result = read(tmp_path / "run")
    runs = result.runs
    assert runs["step"].to_numpy().tolist() == list(range(15_000))
    single = logged.astype(np.float32).astype(float)
    np.testing.assert_array_equal(runs["train_loss"].to_numpy(), single)
    np.testing.assert_array_equal(runs["learning_rate"].to_numpy(), single)
    np.testing.assert_array_equal(runs["exact"].to_numpy(), logged)
    assert len(curve(runs, "eval_loss")) == 30
    assert runs["weight_decay"].item() == 0.1
    assert runs["depth"].item() == 4
    assert "'Loss/train' is taken as train_loss" in notes(result)
    assert "left out 30 histograms" in notes(result)


def test_a_restart_with_a_purge_step_voids_what_it_repeats(tmp_path, writer):
    with writer(str(tmp_path / "a")) as log:
        for step in range(10):
            log.add_scalar("loss", step, step, walltime=100 + step)
    with writer(str(tmp_path / "a"), purge_step=6, filename_suffix=".again") as log:
        for step in range(6, 8):
            log.add_scalar("loss", 100 + step, step, walltime=200 + step)
    result = read(tmp_path / "a")
    assert curve(result.runs) == {**{i: i for i in range(6)}, 6: 106, 7: 107}
    assert "left out 4 values that a restart at step 6 made void" in notes(result)
    assert "2 event files are one run" in notes(result)


def test_a_restart_without_one_wins_where_both_logged(tmp_path):
    put(tmp_path / "a", version(50) + losses(range(3, 6), offset=10, wall=50), number=1)
    put(tmp_path / "a", version(1) + losses(range(8), wall=1), number=2)
    result = read(tmp_path / "a")
    assert curve(result.runs) == {0: 0, 1: 1, 2: 2, 3: 13, 4: 14, 5: 15, 6: 6, 7: 7}
    assert "3 values of 'a' logged again" in notes(result)
    assert result.runs["wall_time"].to_numpy().tolist() == [1, 2, 3, 53, 54, 55, 7, 8]


def test_the_time_of_a_step_is_when_something_was_logged_last_there(tmp_path):
    content = version()
    for step in range(4):
        content += event(step, scalar("train/loss", 1.0), wall=10.0 + step)
        content += event(step, scalar("lr", 1.0), wall=20.0 - step)
    content += event(2, scalar("eval/loss", 1.0), wall=30.0)
    content += event(7, scalar("eval/loss", 1.0), wall=5.0)
    runs = read(put(tmp_path / "a", content)).runs
    assert runs["step"].to_numpy().tolist() == [0, 1, 2, 3, 7]
    assert runs["wall_time"].to_numpy().tolist() == [20, 19, 30, 17, 5]


def test_compiled_and_interpreted_give_the_same_runs(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    path = put(tmp_path / "a", rich() + losses(range(50)) + losses(range(40, 60), offset=5))
    found = []
    for compiled in (False, True):
        monkeypatch.setattr(event_files, "repays_kernel", lambda size, way=compiled: way)
        found.append(read(path))
    assert found[0].report == found[1].report
    assert found[0].runs.drop_attrs().identical(found[1].runs.drop_attrs())


def test_every_restart_voids_all_that_came_before_it(tmp_path):
    content = version() + losses(range(10)) + session_start(8) + losses(range(8, 10), offset=10)
    content += session_start(2) + losses(range(2, 4), offset=20)
    put(tmp_path / "a", content)
    result = read(tmp_path / "a")
    assert curve(result.runs) == {0: 0, 1: 1, 2: 22, 3: 23}
    assert "left out 10 values that a restart at step 2 made void" in notes(result)


def test_a_tree_is_one_run_a_folder(tmp_path):
    for name in ("lr0.001", "lr0.002", "deep/er"):
        put(tmp_path / "logs" / name, version() + losses(range(3)))
    (tmp_path / "logs" / "notes.txt").write_text("hello")
    result = read(tmp_path / "logs")
    assert run_names(result.runs) == ["deep/er", "lr0.001", "lr0.002"]
    put(tmp_path / "logs", version() + losses(range(2)))
    nested = read(tmp_path / "logs")
    assert run_names(nested.runs) == ["logs", "logs/deep/er", "logs/lr0.001", "logs/lr0.002"]
    assert {row["format"] for row in nested.report.imported} == {"tensorboard"}


def test_one_file_alone(tmp_path):
    path = put(tmp_path, version() + losses(range(3)))
    (tmp_path / "config.json").write_text(json.dumps({"peak_lr": 0.5}))
    runs = read(path).runs
    assert runs.sizes["obs"] == 3
    assert runs["peak_lr"].item() == 0.5
    other = tmp_path / "renamed.log"
    path.rename(other)
    assert format_of(Source(other)).name == "tensorboard"


def test_hyper_parameters_and_groups_of_pytorch_belong_to_the_run(tmp_path, writer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with writer(str(tmp_path / "a")) as log:
            for step in range(5):
                log.add_scalars("loss", {"train": step, "val": 2 * step}, step)
                log.add_scalar("lr", 0.1, step)
            log.add_hparams({"weight_decay": 0.1, "kind": "big", "on": True}, {"best": 2.5})
    result = read(tmp_path)
    assert run_names(result.runs) == ["a"]
    assert curve(result.runs) == {i: i for i in range(5)}
    assert curve(result.runs, "eval_loss") == {i: 2 * i for i in range(5)}
    assert result.runs["weight_decay"].item() == 0.1
    assert result.runs["kind"].item() == "big"
    assert result.runs["best"].item() == 2.5


def test_tensorboards_own_writer(tmp_path):
    summary = pytest.importorskip("tensorboard.summary")
    log = summary.Writer(str(tmp_path / "a"))
    for step in range(20):
        log.add_scalar("eval/loss", np.float64(step) / 3, step)
    log.close()
    runs = read(tmp_path / "a").runs
    expected = (np.arange(20) / 3).astype(np.float32).astype(float)
    np.testing.assert_array_equal(runs["eval_loss"].to_numpy(), expected)


def test_tensorboardx(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = pytest.importorskip("tensorboardX")
        log = other.SummaryWriter(str(tmp_path / "a"))
    for step in range(20):
        log.add_scalar("train/loss", step / 3, step)
    log.close()
    assert len(curve(read(tmp_path / "a").runs)) == 20


def test_megatrons_texts_are_settings_and_its_second_axis_is_left_out(tmp_path):
    texts = {"lr": "0.00015", "global_batch_size": "8", "seq_length": "1024", "seed": "1234"}
    content = version() + b"".join(
        event(0, tensor(f"{name}/text_summary", 7, block(8, said.encode())))
        for name, said in texts.items()
    )
    for step in range(1, 4):
        content += event(step, scalar("lm loss", 5 - step), scalar("lm loss validation", 6 - step))
        content += event(8 * step, scalar("lm loss vs samples", 5 - step))
        content += event(step, tensor("sample/text_summary", 7, block(8, b"words %d" % step)))
    result = read(put(tmp_path / "a", content).parent)
    runs = result.runs
    assert curve(runs) == {1: 4, 2: 3, 3: 2}
    assert curve(runs, "eval_loss") == {1: 5, 2: 4, 3: 3}
    assert runs.sizes["obs"] == 3
    assert runs["batch_size"].item() == 8192
    assert runs["peak_lr"].item() == 0.00015
    assert "left out 3 values of 'lm loss vs samples'" in notes(result)
    assert "left out 3 texts of a tag that varies" in notes(result)


def test_tags_that_could_be_the_same_column_stay_apart(tmp_path):
    content = version() + b"".join(
        event(
            step,
            scalar("test_loss", 3.0),
            scalar("val_loss", 2.0),
            scalar("iteration", step / 2),
            scalar("global_step", step),
            scalar("a b", 1.0),
            scalar("a_b", 2.0),
            scalar("", 4.0),
            scalar("wall_time", 5.0),
        )
        for step in range(4)
    )
    runs = read(put(tmp_path / "a", content).parent).runs
    assert runs["eval_loss"].to_numpy().tolist() == [2.0] * 4
    assert runs["test_loss"].to_numpy().tolist() == [3.0] * 4
    assert runs["logged_iteration"].to_numpy().tolist() == [0, 0.5, 1, 1.5]
    assert "logged_global_step" not in runs
    assert sorted(runs[name].to_numpy()[0] for name in ("a_b", "a_b_")) == [1.0, 2.0]
    assert runs["unnamed"].to_numpy().tolist() == [4.0] * 4
    assert runs["wall_time"].to_numpy().tolist() == [5.0] * 4
    assert runs["event_wall_time"].to_numpy().tolist() == [2.0] * 4


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("hparams.yaml", "weight_decay: 0.25\nmodel:\n  dim: 8\n", "settings taken from"),
        ("config.yml", "a: &x [1]\nb: *x\n", "no config that can be read"),
        ("hparams.yaml", "model: !!python/object:os.path {}\n", "no config that can be read"),
        ("config.json", "[" * 100_000, "no config that can be read"),
        ("config.yaml", "{" * 5_000, "no config that can be read"),
        ("config.json", "[1]", "no config that can be read"),
        ("hparams.json", '{"a": ' + "1" * 5_000 + "}", "no config that can be read"),
    ],
)
def test_configs_beside_are_taken_or_said_to_be_no_use(tmp_path, name, text, said):
    put(tmp_path / "a", version() + losses(range(2)))
    (tmp_path / "a" / name).write_text(text)
    result = read(tmp_path / "a")
    assert said in notes(result)
    if said.startswith("settings"):
        assert result.runs["weight_decay"].item() == 0.25
        assert result.runs["width"].item() == 8


def test_runs_without_a_loss_are_left_out_by_name_where_others_have_one(tmp_path):
    put(tmp_path / "a", version() + losses(range(2)))
    put(tmp_path / "a" / "system", version() + losses(range(2), tag="gpu"))
    result = read(tmp_path / "a")
    assert run_names(result.runs) == ["a"]
    (skipped,) = result.report.skipped
    assert skipped["reason"] == "it logs no loss"
    assert skipped["source"].endswith("a/system")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (version(), "holds no record"),
        (version() + losses(range(3), tag="gpu"), "has no loss"),
        (version() + losses([-1]), "holds no record"),
        (version()[:30], "holds no TensorBoard event"),
        (b"", "holds no TensorBoard event"),
        (b"noise" * 1000, "holds no TensorBoard event"),
    ],
)
def test_files_without_a_curve_are_refused_in_one_paragraph(tmp_path, content, said):
    path = put(tmp_path / "a", content)
    with pytest.raises(DataError, match=said) as caught:
        read(path, format="tensorboard")
    assert "\n" not in str(caught.value)


def test_mutated_files_give_runs_or_a_clean_error(tmp_path):
    rng = np.random.default_rng(2)
    content = rich()
    outcomes: Counter[object] = Counter()
    for changed in mutations(content, rng, 2500):
        try:
            runs = read(put(tmp_path, changed), format="tensorboard").runs
            outcomes[runs.sizes["run"]] += 1
        except DataError as error:
            outcomes["refused" if "\n" not in str(error) else "more than a paragraph"] += 1
    assert outcomes[1] > 1000
    assert outcomes["refused"] > 20
    assert not outcomes["more than a paragraph"]
