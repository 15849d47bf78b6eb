"""Dask as a launcher, against a cluster in this process; workers are killed in test_resume.py."""

from __future__ import annotations

import threading

import pytest

from tests.training.kills import differences, values, written_more_than_once
from workbench.errors import ArgumentError, DataError
from workbench.store import open_store
from workbench.training import Pace, dask_launcher, load_spec, parse_spec, train_family
from workbench.training.report import Assignment

distributed = pytest.importorskip("distributed")

LONG = {
    "family": "long",
    "batch": {"rule": "fixed", "sequences": 8},
    "group": [{"width": [8, 16], "tau": 0.2, "tpp": 1000}],
}


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


def train(path, scheduler, spec=None, **options):
    spec = spec or load_spec("smoke")
    return train_family(
        spec, path, launcher="dask", scheduler=scheduler, progress=False, device="cpu", **options
    )


def test_any_scheduler_trains_what_processes_train(cluster, smoke, tmp_path):
    events = []
    result = train(tmp_path / "dask", cluster.scheduler_address, on_event=events.append)
    assert {run["status"] for run in result.runs} == {"done"}
    assert differences(values(tmp_path / "dask"), values(smoke[0])) == []
    assert written_more_than_once(tmp_path / "dask")[0] == 0
    assert [event.kind for event in events].count("run") == len(result.runs)
    assert events[-1].share == 1.0
    assert cluster.scheduler_info["workers"]  # somebody else's cluster is left running


def test_stopped_in_the_middle_and_resumed(cluster, tmp_path):
    path, stop = tmp_path / "runs", threading.Event()
    pace = Pace(seconds=0.2)

    def stop_when_running(event):
        if event.share > 0:
            stop.set()

    result = train(
        path,
        cluster.scheduler_address,
        parse_spec(LONG),
        stop=stop,
        on_event=stop_when_running,
        pace=pace,
    )
    assert {run["status"] for run in result.runs} == {"stopped"}
    assert list((path / "checkpoints" / "long").glob("*/step-*.safetensors"))
    shares = []
    stop.clear()

    def look(event):
        shares.append(event.share)
        stop_when_running(event)

    train(path, cluster.scheduler_address, parse_spec(LONG), stop=stop, on_event=look, pace=pace)
    assert written_more_than_once(path)[0] == 0
    assert open_store(path).check() == ()


def test_a_run_that_diverges_is_failed_and_said(cluster, tmp_path):
    spec = parse_spec(
        {
            "family": "wild",
            "optimizer": {"peak_lr": 1e38},
            "group": [{"width": 8, "tau": 0.2, "tpp": 1}],
        }
    )
    with pytest.raises(DataError, match=r"1 runs failed.*the run diverged"):
        train(tmp_path / "runs", cluster.scheduler_address, spec)


def test_a_store_in_a_folder_takes_workers_of_one_machine_only(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_launcher, "_probe", lambda _folder: ("elsewhere", True))
    with pytest.raises(ArgumentError, match=r"workers on elsewhere. Use a store on PostgreSQL"):
        train(tmp_path / "runs", cluster.scheduler_address)


def test_workers_must_see_the_checkpoints(cluster, tmp_path, monkeypatch):
    here = dask_launcher.platform.node()
    monkeypatch.setattr(dask_launcher, "_probe", lambda _folder: (here, False))
    with pytest.raises(ArgumentError, match=r"does not see the folder .*--checkpoints FOLDER"):
        train(tmp_path / "runs", cluster.scheduler_address)


def test_what_cannot_be(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_launcher, "CONNECT_SECONDS", 0.5)
    with pytest.raises(DataError, match=r"tcp://127.0.0.1:9 cannot be reached"):
        train(tmp_path / "runs", "tcp://127.0.0.1:9")
    with pytest.raises(ArgumentError, match=r"processes 3: the cluster .* has workers"):
        train(tmp_path / "runs", cluster.scheduler_address, processes=3)


def test_cuda_is_asked_of_the_workers(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_launcher, "find_gpus", lambda: ())
    with pytest.raises(ArgumentError, match="a worker of the cluster has no CUDA device"):
        train_family(
            load_spec("smoke"),
            tmp_path / "runs",
            launcher="dask",
            scheduler=cluster.scheduler_address,
            device="cuda",
            progress=False,
        )


def test_a_cluster_without_workers_is_said_to_have_none(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_launcher, "WORKER_SECONDS", 0.2)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        pytest.raises(DataError, match=r"has no workers. Start some: dask worker"),
    ):
        train(tmp_path / "runs", empty.scheduler_address)


def test_without_dask_the_extra_is_named(tmp_path, monkeypatch):
    def gone(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(dask_launcher, "import_module", gone)
    with pytest.raises(ArgumentError, match=r"pip install 'collapse-workbench\[dask\]'"):
        train(tmp_path / "runs", None)
    with pytest.raises(ArgumentError, match=r"pip install 'collapse-workbench\[cluster\]'"):
        dask_launcher.slurm_cluster(jobs=1)


def test_jobs_print_no_password(tmp_path):
    from workbench.store import to_address

    address = to_address("postgresql://me:w@rd@host/runs".replace("w@rd", "secret"))
    assert "secret" not in repr(Assignment(load_spec("smoke"), address, tmp_path))


def test_slurm_jobs_are_written_as_the_configuration_says():
    jobqueue = pytest.importorskip("dask_jobqueue")
    assert jobqueue
    with dask_launcher.slurm_cluster(
        jobs=0, cores=1, memory="4GB", queue="gpu", job_extra_directives=["--gpus=1"]
    ) as cluster:
        script = cluster.job_script()
    for line in ("#SBATCH -p gpu", "#SBATCH --gpus=1", "#SBATCH --cpus-per-task=1"):
        assert line in script
    assert "distributed.cli.dask_worker" in script
    with pytest.raises(ArgumentError, match=r"not told the cores of a worker.*jobqueue\.yaml"):
        dask_launcher.slurm_cluster(jobs=1)
