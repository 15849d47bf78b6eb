from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
import sqlalchemy as sa

from workbench.schema import make_runs
from workbench.store import open_store

ROOT = Path(__file__).parents[2]
BUCKET, REGION = "curves-of-tests", "us-east-1"


class ObjectStore:
    """The emulator as a process of its own; see emulator.py."""

    def __init__(self, *arguments):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("emulator.py")), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.endpoint = f"http://127.0.0.1:{json.loads(self._process.stdout.readline())}"

    def say(self, command):
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def client(self):
        import boto3
        from botocore.config import Config

        once = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return boto3.client("s3", endpoint_url=self.endpoint, region_name=REGION, config=once)

    def place(self, **options):
        """Return a new place for curves."""
        query = urlencode({"endpoint": self.endpoint, "region": REGION} | options)
        return f"s3://{BUCKET}/{uuid.uuid4().hex}?{query}"

    def objects(self, place, part=""):
        """Return the keys of a place, of one kind of object (``chunks``, ``refs``, ...)."""
        prefix = urlsplit(place).path.strip("/")
        pages = self.client().get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=BUCKET, Prefix=f"{prefix}/{part}")
        return [item["Key"] for page in found for item in page.get("Contents", [])]

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=30)


@pytest.fixture(scope="session")
def aws_credentials():
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ACCESS_KEY_ID", "key-of-the-tests")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
        yield


@pytest.fixture(scope="session")
def start_object_store(aws_credentials):
    """Return a starter of S3 emulators with an empty bucket; skips where moto is missing."""
    for name in ("moto", "boto3", "icechunk"):
        pytest.importorskip(name, reason=f"curves on S3 are tested with {name}")
    started = []

    def start(*arguments):
        started.append(ObjectStore(*arguments))
        started[-1].client().create_bucket(Bucket=BUCKET)
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture(scope="session")
def object_store(start_object_store):
    return start_object_store()


@pytest.fixture(params=["local", pytest.param("team", marks=pytest.mark.s3)])
def new_address(request, tmp_path, addresses_on_server):
    """Return a maker of addresses: all in a folder, or PostgreSQL with the curves on S3."""
    if request.param == "local":
        return lambda name="runs": str(tmp_path / name)
    objects = request.getfixturevalue("object_store")
    return addresses_on_server(lambda _name: objects.place())


@pytest.fixture
def store(new_address):
    opened = open_store(new_address(), create=True)
    yield opened
    opened.close()


@pytest.fixture(params=["local", "postgres"])
def folder_address(request, tmp_path, addresses_on_server):
    """Return a maker of addresses: either kind of registry, with the curves in a folder."""
    if request.param == "local":
        return lambda name="runs": str(tmp_path / name)
    return addresses_on_server(lambda name: tmp_path / f"curves-of-{name}")


@pytest.fixture
def folder_store(folder_address):
    opened = open_store(folder_address(), create=True)
    yield opened
    opened.close()


@pytest.fixture
def local_store(tmp_path):
    """Return a store that is one folder and nothing else."""
    opened = open_store(tmp_path / "runs", create=True)
    yield opened
    opened.close()


@pytest.fixture
def sql():
    """Return a runner of one statement on a store's registry, past everything that guards it."""

    def run(store, statement):
        with store._registry.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SET LOCAL search_path TO workbench"))
            result = connection.execute(sa.text(statement))
            return result.fetchall() if result.returns_rows else []

    return run


@pytest.fixture
def start_process():
    """Return a starter of processes.py: the popen, whose `communicate` gives its JSON."""

    def start(mode, address, *, rounds, seed=0):
        command = [sys.executable, str(Path(__file__).with_name("processes.py")), mode]
        return subprocess.Popen(
            [*command, os.fspath(address), str(rounds), str(seed)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    return start


@pytest.fixture
def run_process(start_process):
    def run(mode, address, *, rounds, seed=0):
        with start_process(mode, address, rounds=rounds, seed=seed) as process:
            out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return json.loads(out)

    return run


@pytest.fixture
def few_runs():
    """Return a maker of `n` short runs with a text and a number coordinate of their own."""

    def make(n=3, *, records=5, prefix="r", **coords):
        steps = np.tile(np.arange(records) * 10, n)
        names = [f"{prefix}{i}" for i in range(n)]
        base = {"run_id": names, "model_size": 1e6 * (1 + np.arange(n)), "note": ["é"] * n}
        loss = np.concatenate([i + 1 / (1 + np.arange(records)) for i in range(n)])
        return make_runs(
            {**base, **coords}, {"step": steps, "train_loss": loss}, row_size=[records] * n
        )

    return make
