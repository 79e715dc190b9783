"""Measures time and memory of models of docs/models.md on this machine: python docs/measure_models.py [NAME ...].

Weights cannot be had everywhere and change neither, so they are random, of the models' real sizes. Each model labels an
image of 480 x 640 by the inferencer, in a process of its own on one thread. Seconds are those of the processor, which
other work on the machine hardly changes. Results go into docs/models_measured.json, those of other models in it stay;
`python docs/models_table.py` then writes the tables. A model that takes longer than --limit is ended: what it had found
by then is kept, and the last lines say what was left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("models_measured.json")
NAMES = (20, 150)
SIZE = (480, 640)
IMAGE = "photo.png"
FOUND = "found.json"


def measurable() -> list[str]:
    """Models of the zoo that label any image: those with published weights, and those without training."""
    from hclip_mmseg.zoo import read_zoo

    return [
        model.name
        for model in read_zoo()
        if model.part is None
        and model.needs != "training"
        and not model.name.startswith(("unsupervised", "cliptrase-dinov2", "scr-"))
    ]


def prepare(name: str, folder: Path) -> None:
    """Write the config of a model and a checkpoint of random weights into a folder."""
    import cv2
    import numpy as np
    import segment_anything
    import timm
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    from hclip_mmseg.apis.launch import read_config
    from hclip_mmseg.zoo import find_model

    config = read_config(find_model(name).config)
    torch.manual_seed(0)
    for entry in entries(config.model):
        if entry.get("type") == "TimmPatchFeatures":
            entry["weights"] = str(folder / f"{entry['model']}.pth")
            torch.save(timm.create_model(entry["model"], num_classes=0).state_dict(), entry["weights"])
        elif entry.get("type") in ("SAMAggregation", "SAMPrompts"):
            entry["weights"] = str(folder / "sam.pth")
            torch.save(segment_anything.sam_model_registry["vit_b"]().state_dict(), entry["weights"])
        elif entry.get("type") == "RegionFolder":
            entry["folder"] = str(folder / "regions")
    tile = np.ones((SIZE[0] // 5, SIZE[1] // 6 + 1), np.uint8)
    regions = np.kron(np.arange(30, dtype=np.uint8).reshape(5, 6) + 1, tile)[:, : SIZE[1]]
    (folder / "regions").mkdir()  # apart from the image, which is no map of regions
    np.save(folder / "regions/photo.npy", regions)
    cv2.imwrite(str(folder / IMAGE), np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    weights: dict[str, Any] = config.model.get("backbone", {}).get("clip", {})
    if "demo_assets" not in str(weights.get("pretrained")):
        weights["pretrained"] = None
        if config.model.get("generator"):
            config.model.generator.init_cfg = None
        init_default_scope(config.get("default_scope", "mmseg"))
        model = MODELS.build(config.model)
        torch.save(dict(state_dict=model.state_dict()), folder / "weights.pth")
    Config(config.to_dict()).dump(str(folder / "config.py"))


def entries(value: Any) -> Iterator[dict[str, Any]]:
    """All dicts inside a config."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    if isinstance(value, dict):
        yield value
    for part in parts:
        yield from entries(part)


def measure(folder: Path, limit: int) -> None:
    """Write into the folder's ``found.json``, after each number of names, what :func:`prepare`'s model took.

    By number of names: seconds for an image and for encoding the names, and the most memory of the process so far.
    After the limit, in seconds of the processor, the system ends this process.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    import torch

    from hclip_mmseg.apis import OpenVocabInferencer
    from hclip_mmseg.engine.memory import keep_freed_memory, peak_memory
    from hclip_mmseg.vocabularies import load_vocabulary

    torch.set_num_threads(1)
    keep_freed_memory()
    checkpoint = folder / "weights.pth"
    inferencer = OpenVocabInferencer(folder / "config.py", checkpoint if checkpoint.is_file() else None, device="cpu")
    checkpoint.unlink(missing_ok=True)
    found = {}
    for count in NAMES:
        inferencer.set_vocabulary(load_vocabulary("A-150").titles[:count])
        seconds = []
        for _ in range(2):  # the first encodes the names too
            start = time.process_time()
            list(inferencer([str(folder / IMAGE)]))
            seconds.append(time.process_time() - start)
        encoding = max(seconds[0] - seconds[1], 0)
        peak = peak_memory("cpu") >> 20
        found[str(count)] = dict(image_s=round(seconds[1], 3), names_s=round(encoding, 3), peak_mib=peak)
        (folder / FOUND).write_text(json.dumps(found))


def measured_within(limit: int, folder: Path) -> dict[str, Any]:
    """What :func:`measure` finds of a folder's model in seconds of the processor; empty where they were too few."""
    with suppress(BrokenProcessPool):  # the limit ends the process
        apart(measure, folder, limit)
    found: dict[str, Any] = json.loads((folder / FOUND).read_text()) if (folder / FOUND).is_file() else {}
    return found


def apart(function: Any, *arguments: Any) -> Any:
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="Measure time and memory of the models of docs/models.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of models (all that label any image)")
    parser.add_argument("--missing", action="store_true", help="only those that the results lack")
    parser.add_argument("--limit", type=int, default=600, metavar="SECONDS", help="of the processor for a model (600)")
    args = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"models": {}}
    left_out = []
    for name in args.names or apart(measurable):
        if args.missing and set(results["models"].get(name, {})) >= set(map(str, NAMES)):
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                apart(prepare, name, Path(folder))
                found = measured_within(args.limit, Path(folder))
            except Exception as error:  # the others are measured all the same
                left_out.append(f"{name}: {error}")
                continue
        missing = [f"{count} names" for count in NAMES if str(count) not in found]
        if missing:
            left_out.append(f"{name}, {' and '.join(missing)}: took longer than {args.limit} s")
        if found:
            keep(results, name, found)
            print(name, found, flush=True)
    for line in left_out:
        print(f"left out: {line}")


def keep(results: dict[str, Any], name: str, found: dict[str, Any]) -> None:
    """Write what was found of a model beside the results of others."""
    import torch

    results["machine"] = f"{processor()}, one thread, torch {torch.__version__}, {date.today()}"
    results["models"] = dict(sorted({**results["models"], name: found}.items()))
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
