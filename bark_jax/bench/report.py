"""Lay out the numbers of a run for reading: lines of text from what `--json` writes."""

from collections.abc import Iterator
from typing import Any

from bark_jax.bench.roofline import TRIES
from bark_jax.bench.transformers_baseline import EAGER
from bark_jax.console import cell, table
from bark_jax.journey import STAGES

ROWS = (*(stage.name for stage in STAGES), "whole")


def report_lines(report: dict[str, Any]) -> list[str]:
    """Return all tables, each behind an empty line."""
    sections = [machine(report), loading_table(report["loading"]), *first_sound_tables(report["first_sound"])]
    for batch, measured in report["batches"].items():
        sections.append(stages_table(batch, measured))
        if measured["others"]:
            sections.append(modes_table(batch, measured))
    if len(report["batches"]) > 1:
        sections.append(scaling_table(report["batches"]))
    left_out = report["left_out"].items()
    sections.append([f"left out  transformers, {who}: {why}" for who, why in left_out])
    return [line for section in sections if section for line in (*section, "")][:-1]


def machine(report: dict[str, Any]) -> list[str]:
    device, read, products = report["device"], report["limits"]["read"], report["limits"]["products"]
    rates = (f"{rate / 1e9:,.0f} GFLOP/s for {size}" for size, rate in products.items())
    lines = [
        "shape     " + ", ".join(f"{key} {value}" for key, value in report["shape"].items()) + ", random weights",
        f"device    {device['name']} ({device['platform']}), {device['cores']} cores",
        "versions  " + ", ".join(f"{key} {value}" for key, value in report["versions"].items()),
        f"memory    {read / 1e9:,.1f} GB/s read, for the sums of the rows of a large array; best of {TRIES}",
        f"products  {', '.join(rates)}; best of {TRIES}",
    ]
    theirs = report["their_device"]
    if theirs:
        lines.insert(2, f"theirs    {theirs['name']} ({theirs['platform']}), for transformers")
        if theirs["platform"] != device["platform"]:
            lines.insert(3, "          ANOTHER DEVICE: the ratios below compare two devices, not two programs")
    return lines


def loading_table(loading: list[dict[str, Any]]) -> list[str]:
    keys = ["peak_bytes", "imports_peak_bytes", *["device_peak_bytes"] * any(x["device_peak_bytes"] for x in loading)]
    rows = [[x["process"], x["seconds"], *(x[key] and x[key] / 2**20 for key in keys)] for x in loading]
    header = ("in a fresh process", "load s", "peak MiB", "of it imports", "device MiB")
    return table(*header[: 2 + len(keys)], rows=rows)


def first_sound_tables(found: dict[str, Any]) -> Iterator[list[str]]:
    """Say where the time to the first WAV goes, without and with compiled programs, and what was compiled."""
    runs, columns = (found["cold"], found["warm"]), ("seconds", "trace_seconds", "compile_seconds")
    rows = [
        [one["part"], *(part[column] for part in (one, other) for column in columns)]
        for one, other in zip(*(run["parts"] for run in runs), strict=True)
    ]
    totals = (
        ("until the WAV is written", [run["until_sound"] for run in runs]),
        ("a second sentence", [run["second"]["seconds"] for run in runs]),
        ("from load() to its end", [run["second"]["since_load"] for run in runs]),
    )
    rows += [[name, cold, None, None, warm, None, None] for name, (cold, warm) in totals]
    yield table("first sound", *("cold s", "trace s", "compile s", "warm s", "trace s", "compile s"), rows=rows)
    first, again, second = runs[0]["first"], runs[1]["first"], runs[1]["second"]
    yield [
        "cold      a fresh process, no program compiled before; warm: another one, programs in the persistent cache",
        f"programs  {first['programs']} for the first sentence; warm, {again['from_cache']} of {again['programs']} "
        f"come from the cache; {second['programs']} for a second one of other length, voice, seed and temperatures",
    ]


def stages_table(batch: int | str, measured: dict[str, Any]) -> list[str]:
    header = ["compile s", "run s", "rate", "of the limit"]
    rows = []
    for row in measured["rows"]:
        compile_seconds = row["compiled"] and row["compiled"]["trace_seconds"] + row["compiled"]["compile_seconds"]
        share = row["share_of_limit"] and f"{row['share_of_limit']:.0%}"
        rows.append([row["stage"], compile_seconds, row["seconds"], f"{cell(row['rate'])} {row['unit']}", share])
    others = measured["others"]
    if others:
        header += ["eager s", "times faster", "best s", "times faster"]
        for row in rows:
            stage, ours = row[0], row[2]
            if stage in ROWS:
                eager, best = others.get(EAGER.name, {}).get(stage), min(one[stage] for one in others.values())
                row += [eager, eager and eager / ours, best, best / ours]
            else:
                row += [None] * 4
    return table(f"batch of {batch}", *header, rows=rows)


def modes_table(batch: int | str, measured: dict[str, Any]) -> list[str]:
    """Show each mode of `transformers`, in seconds and times as slow as ours."""
    ours = {row["stage"]: row["seconds"] for row in measured["rows"]}
    rows = []
    for who, seconds in measured["others"].items():
        rows.append([who, *(f"{cell(seconds[stage])} ({cell(seconds[stage] / ours[stage])}x)" for stage in ROWS)])
    lines = table(f"transformers, batch of {batch}", *(f"{stage} s" for stage in ROWS), rows=rows)
    return lines + [f"left out  {who}: {why}" for who, why in measured["left_out"].items()]


def scaling_table(batches: dict[Any, Any]) -> list[str]:
    """Show what comes out in a second at each size of batch, and how many times that of the first size."""
    by_batch = {batch: {row["stage"]: row for row in measured["rows"]} for batch, measured in batches.items()}
    first = next(iter(by_batch.values()))
    rows = []
    for batch, found in by_batch.items():
        rates = [(found[stage]["rate"], first[stage]["rate"]) for stage in ROWS]
        rows.append([str(batch), *(f"{cell(rate)} ({cell(rate / one)}x)" for rate, one in rates)])
    return table("batch", *(f"{stage}, {first[stage]['unit']}" for stage in ROWS), rows=rows)
