"""The formats that can be read, in the order they are tried; a new one is a line here."""

from __future__ import annotations

from workbench.errors import ArgumentError
from workbench.io.canonical import (
    read_netcdf,
    read_store,
    read_zarr,
    sniff_netcdf,
    sniff_store,
    sniff_zarr,
)
from workbench.io.readers import (
    aim,
    build_nanogpt,
    hf_trainer,
    jsonl,
    lightning_csv,
    llmc,
    megatron,
    mlflow,
    mlperf,
    modded_nanogpt,
    nanochat,
    nanogpt,
    neptune,
    parquet,
    pickles,
    tensorboard,
    torchtitan,
    trackio,
    wandb_api,
    wandb_csv,
    wandb_json,
    wandb_offline,
)
from workbench.io.result import Format, Source
from workbench.io.tidy import read_csv, read_tidy, sniff_csv, sniff_tidy

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format("netcdf", sniff_netcdf, read_netcdf),
        Format("store", sniff_store, read_store),
        Format("zarr", sniff_zarr, read_zarr),
        wandb_api.FORMAT,
        mlperf.FORMAT,
        modded_nanogpt.FORMAT,
        llmc.FORMAT,
        nanochat.FORMAT,
        nanogpt.FORMAT,
        build_nanogpt.FORMAT,
        torchtitan.FORMAT,
        megatron.FORMAT,
        wandb_offline.FORMAT,
        tensorboard.FORMAT,
        hf_trainer.FORMAT,
        wandb_json.FORMAT,
        pickles.FORMAT,
        neptune.FORMAT,
        wandb_csv.FORMAT,
        lightning_csv.FORMAT,
        aim.FORMAT,
        mlflow.FORMAT,
        trackio.FORMAT,
        Format("tidy", sniff_tidy, read_tidy),
        Format("csv", sniff_csv, read_csv),
        parquet.FORMAT,
        jsonl.FORMAT,
    )
}


def format_of(source: Source) -> Format | None:
    """Return the first format whose content test fits, or None."""
    return next((format for format in FORMATS.values() if format.sniff(source)), None)


def named_format(name: str) -> Format:
    """Return the format called `name`; `ArgumentError` when there is none."""
    if name not in FORMATS:
        msg = f"format {name!r} is unknown. Use auto or one of {', '.join(FORMATS)}."
        raise ArgumentError(msg)
    return FORMATS[name]
