from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from workbench.errors import ArgumentError, DataError
from workbench.training import Task, build_task, parse_spec, plan_family
from workbench.training.engine import train_rows
from workbench.training.tasks import FourierTask, TextTask
from workbench.training.tasks.dataset import _joined, stream_text
from workbench.training.tasks.text import read_text
from workbench.training.tasks.tokens import as_tokens

GROUP = {"width": 8, "tau": 0.2, "tpp": 20}
MLP_GROUP = {"width": 8, "weight_decay": 0, "tpp": 20}


def spec_of(**task):
    model = {"kind": "mlp"} if task["name"] == "fourier" else {"context": 16}
    group = MLP_GROUP if task["name"] == "fourier" else GROUP
    return parse_spec({"family": "f", "task": task, "model": model, "group": [group]})


def same(one, other):
    np.testing.assert_array_equal(one.inputs, other.inputs)
    np.testing.assert_array_equal(one.targets, other.targets)
    return True


@pytest.mark.parametrize(
    "task", [{"name": "markov-2", "vocab": 16}, {"name": "fourier", "modes": 50}, {"name": "text"}]
)
def test_batches_are_pure_functions_of_step_and_seed(task):
    one, other = build_task(spec_of(**task)), build_task(spec_of(**task))
    assert isinstance(one, Task)
    asked = [(step, seed) for step in (0, 3, 700) for seed in (0, 2**32)]
    first = {key: one.batch(key[0], sequences=6, seed=key[1]) for key in asked}
    for key in reversed(asked):
        assert same(first[key], other.batch(key[0], sequences=6, seed=key[1]))
    assert len({batch.inputs.tobytes() for batch in first.values()}) == len(asked)
    assert same(one.held_out(6), other.held_out(6))
    assert one.held_out(6).inputs.tobytes() not in {b.inputs.tobytes() for b in first.values()}


def test_waves_are_the_written_sum():
    task = FourierTask(dimensions=3, modes=40, seed=1)
    points = task.batch(0, sequences=5, seed=0).inputs
    assert np.abs(points).max() <= 0.5
    assert set(np.unique(task.phases)) <= {0.0, 0.25}
    np.testing.assert_array_equal(task.frequencies, np.round(task.frequencies))
    assert np.linalg.norm(task.weights) == pytest.approx(math.sqrt(2), rel=1e-6)
    by_hand = [
        sum(
            float(w) * math.cos(2 * math.pi * float(k @ x) + 2 * math.pi * float(b))
            for w, k, b in zip(task.weights, task.frequencies.T, task.phases, strict=True)
        )
        for x in points
    ]
    np.testing.assert_allclose(task.values(points), by_hand, atol=1e-4)


def test_frequencies_have_the_tail_and_the_start_is_near_a_half():
    task = FourierTask()
    length = np.linalg.norm(task.frequencies, axis=0)
    # P(s > t) = t⁻²; rounding moves a length by less than one.
    for t in (5, 10):
        assert (length > t).mean() == pytest.approx(t**-2, rel=0.25)
    assert 0.5 * np.mean(task.held_out(4000).targets ** 2) == pytest.approx(0.5, abs=0.1)


def test_an_epoch_visits_every_window_of_the_training_text_once():
    corpus = (np.arange(40_000) % 251).astype(np.uint8)
    task = TextTask(corpus, context=16, held_out_fraction=0.25)
    steps, rest = divmod(task.windows, 10)
    drawn = [task.batch(step, sequences=10, seed=0) for step in range(steps)]
    drawn.append(task.batch(task.windows, sequences=1, seed=0))
    seen = np.concatenate([batch.inputs for batch in drawn[:-1]])
    assert len(np.unique(seen, axis=0)) > 200  # the text itself repeats after 251 bytes
    order, offset = task._order(0, 0)
    np.testing.assert_array_equal(np.sort(order), np.arange(task.windows))
    assert 0 <= offset < 16
    assert rest < 10
    assert not np.array_equal(task._order(0, 1)[0], order)


def test_held_out_text_is_never_trained_on():
    corpus = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8)
    task = TextTask(corpus, context=16, held_out_fraction=0.2)
    training = task._training_positions(np.arange(task._training_tokens))
    held_out = task._held_out_positions(np.arange(task._held_out_tokens))
    assert not set(training) & set(held_out)
    assert set(training) | set(held_out) == set(range(len(corpus)))
    assert len(held_out) / len(corpus) == pytest.approx(0.2, abs=0.03)
    batch = task.held_out(50)
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert batch.surprise is None


@pytest.mark.parametrize("size", [32_769, 32_768, 36_000, 50_000])
def test_no_window_runs_off_the_end(size):
    corpus = np.zeros(size, np.uint8)
    task = TextTask(corpus, context=32, held_out_fraction=0.1 if size > 40_000 else 0.5)
    for step in range(0, 3 * task.windows, task.windows // 2):
        assert task.batch(step, sequences=task.windows, seed=1).inputs.shape == (task.windows, 32)
    assert task.held_out(1000).targets.shape == (1000, 32)


def test_the_shipped_text_is_small_plain_and_long_enough():
    text, name = read_text(None)
    assert 50_000 < len(text) < 100_000
    assert bytes(text).isascii()
    assert "us_founding_documents" in name
    assert bytes(text).startswith(b"The Constitution of the United States")


def test_a_transformer_learns_the_shipped_text():
    group = {"width": 16, "tau": 0.3, "tpp": 4}
    spec = parse_spec(
        {
            "family": "read",
            "task": {"name": "text"},
            "batch": {"rule": "fixed", "sequences": 16},
            "evaluation": {"points": 2, "sequences": 64},
            "group": [group],
        }
    )
    task = build_task(spec)
    records = list(train_rows(plan_family(spec).runs, task, evaluation=spec.evaluation))
    counts = np.bincount(np.asarray(task.corpus), minlength=256) / len(task.corpus)
    single = -float((counts * np.log(counts, where=counts > 0, out=np.zeros(256))).sum())
    # Better than knowing how frequent every byte is, and no control variate without an entropy.
    assert records[-1].eval_loss[0] < single - 0.1
    assert records[0].train_loss[0] == pytest.approx(math.log(256), abs=0.01)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra text")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<end>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([bytes(read_text(None)[0]).decode()], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return made, str(path)


def test_text_in_tokens_of_a_tokenizer(tokenizer):
    made, path = tokenizer
    spec = spec_of(name="text", tokenizer=path)
    assert plan_family(spec).runs[0].shape.vocab == made.get_vocab_size() == 600
    task = build_task(spec)
    assert task.corpus.dtype == np.uint16
    assert task.corpus.max() < 600
    assert len(task.corpus) < 30_000
    text = bytes(read_text(None)[0]).decode()
    assert made.decode(task.corpus.tolist()) == text
    batch = task.batch(0, sequences=2, seed=0)
    assert made.decode(batch.inputs[0].tolist()) in text


def test_long_text_is_encoded_part_by_part_without_loss(tokenizer, monkeypatch):
    made, path = tokenizer
    text = read_text(None)[0]
    monkeypatch.setattr("workbench.training.tasks.tokens._PART", 1000)
    assert made.decode(as_tokens(text, path).tolist()) == bytes(text).decode()


@pytest.mark.parametrize("content", [None, "{", "{}", '{"model": {"vocab": []}}', "[1]"])
def test_a_tokenizer_that_is_none(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArgumentError, match=r"is not a readable tokenizer\.json") as caught:
        plan_family(spec_of(name="text", tokenizer=str(path)))
    assert "\n" not in str(caught.value)


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.txt").write_bytes(b"third")
    (tmp_path / "a.txt").write_bytes(b"first")
    (tmp_path / "aa.txt").write_bytes(b"second")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / ".hidden").write_bytes(b"no")
    text, _ = read_text(tmp_path)
    assert bytes(text) == b"firstsecondthird"
    one, _ = read_text(tmp_path / "a.txt")
    assert bytes(one) == b"first"


@pytest.mark.parametrize("make", [None, "empty folder", "short"])
def test_text_that_is_not_there_or_too_short(tmp_path, make):
    path = tmp_path / "text"
    if make == "empty folder":
        path.mkdir()
    elif make == "short":
        path.write_bytes(b"hello" * 100)
    expected = "has 500 tokens: too few" if make == "short" else "There is no text at"
    with pytest.raises(DataError, match=expected) as caught:
        build_task(spec_of(name="text", path=str(path)))
    assert "\n" not in str(caught.value)


def test_documents_are_joined_up_to_the_amount_asked_for():
    section = spec_of(name="dataset", dataset="d", megabytes=1e-5).task
    taken = []

    def documents():
        for word in ("one", "two", "three", "four"):
            taken.append(word)
            yield {"text": word}

    assert bytes(_joined(documents(), section, "d")) == b"one\n\ntwo\n\n"
    assert taken == ["one", "two"]
    with pytest.raises(DataError, match=r"no text in column 'text'\. Its columns are: body, n"):
        _joined([{"body": "one", "n": 3}], section, "d")


def test_streaming_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(DataError, match=r"collapse-workbench\[text\]"):
        stream_text(spec_of(name="dataset", dataset="d").task)


def test_a_dataset_is_streamed(tmp_path):
    pytest.importorskip("datasets", reason="needs the extra text")
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"line {i} of a text to be read byte by byte\n" for i in range(4000)))
    task = {"name": "dataset", "dataset": "text", "data_files": str(path), "megabytes": 0.1}
    built = build_task(spec_of(**task))
    assert len(built.corpus) == 100_000
    assert bytes(built.corpus[:6]) == b"line 0"
    with pytest.raises(DataError, match="cannot be streamed"):
        build_task(spec_of(**task | {"data_files": str(Path(tmp_path) / "none.txt")}))
