"""The results so far, in a file that is whole at any moment and that an interrupted evaluation goes on from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from mmengine.config import Config

from hclip_mmseg.files.json_files import read_json
from hclip_mmseg.files.writing import write_whole

MOST_SHOWN = 4
ASIDE = ("pretrained",)  # where CLIP's weights lie does not matter: the checkpoint holds them


def settings_of(cfg: Config) -> dict[str, Any]:
    """What of a config the results depend on, as JSON knows it."""
    chosen = {key: cfg.to_dict().get(key) for key in ("model", "test_cfg", "randomness", "custom_hooks")}
    return json.loads(json.dumps(chosen, default=str))


class Results:
    """What has been measured of one checkpoint, by this evaluation and by others that run beside it.

    Args:
        path: the JSON file; it is read if it exists.

    Attributes:
        about: ``config``, ``checkpoint``, ``checkpoint_sha256``, ``settings`` (see :func:`settings_of`), ``paper``
            (the config's entry on the paper's row) and ``style`` (its ``benchmark_style``).
        runs: every start of the evaluation that gave a result: command, seed, versions, processes, device.
        measured: benchmark -> ``metrics``, ``classes``, ``images``, ``seconds``, ``settings`` and ``run``, its place
            in ``runs``, and ``folders`` that label maps or images were written to.

    Raises:
        ValueError: if there is a file of another kind.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        stored: Any = {}
        if self.path.exists():
            refusal = f"{self.path} is no file of benchmark results; remove it, or give another --work-dir"
            try:
                stored = read_json(self.path)
            except (OSError, ValueError) as error:
                raise ValueError(refusal) from error
            if not _are_results(stored):
                raise ValueError(refusal)
        self.about: dict[str, Any] = stored.get("about", {})
        self.runs: list[dict[str, Any]] = stored.get("runs", [])
        self.measured: dict[str, dict[str, Any]] = stored.get("measured", {})
        self._run: dict[str, Any] = {}

    def go_on_with(self, about: Mapping[str, Any], benchmarks: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the results so far as those of this model.

        Args:
            about: as the attribute, of the model that is evaluated now.
            benchmarks: name -> what its result depends on, of those asked for now.

        Raises:
            ValueError: if there are results of another checkpoint, config or other settings: what differs.
        """
        plain: dict[str, Any] = json.loads(json.dumps(about))
        if self.measured:
            problems = list(self._differences(plain, json.loads(json.dumps(benchmarks, default=str))))
            if problems:
                raise ValueError(
                    f"{self.path} holds results that do not belong to this evaluation: {'; '.join(problems)}. "
                    "Remove it to begin anew, or give another --work-dir"
                )
        self.about = plain

    def _differences(self, about: Mapping[str, Any], benchmarks: Mapping[str, Any]) -> Iterator[str]:
        then, now = self.about.get("checkpoint_sha256"), about["checkpoint_sha256"]
        if then != now:
            digests = f"SHA-256 {str(then)[:12]} then, {str(now)[:12]} now"
            yield f"the checkpoint {about['checkpoint']} has changed ({digests})"
        pairs = {"": (self.about.get("settings"), about["settings"])}
        for name in benchmarks.keys() & self.measured.keys():
            pairs[f"{name}: "] = (self.measured[name].get("settings"), benchmarks[name])
        for prefix, (old, new) in pairs.items():
            differ = list(differences(old, new))
            more = f" and {len(differ) - MOST_SHOWN} more" if len(differ) > MOST_SHOWN else ""
            if differ:
                yield f"the config or the data has changed: {prefix}{', '.join(differ[:MOST_SHOWN])}{more}"

    def remaining(self, names: Sequence[str], folders: Sequence[str] = ()) -> list[str]:
        """Those of the benchmarks that have no result yet, in their order.

        Args:
            names: of the benchmarks.
            folders: where label maps and images are wanted; a benchmark remains if its are not there.
        """
        lacking = {folder for folder in folders if not Path(folder).exists()}

        def done(name: str) -> bool:
            written = set(self.measured.get(name, {}).get("folders", ()))
            return name in self.measured and set(folders) <= written - lacking

        return [name for name in names if not done(name)]

    def begin_run(self, **run: Any) -> None:
        """Notes who measures what comes next."""
        self._run = json.loads(json.dumps(run, default=str))

    def add(self, name: str, *, folders: Sequence[str] = (), **result: Any) -> None:
        """Adds a benchmark's result to those that the file holds by now, and writes it.

        Raises:
            ValueError: if the file holds results of another model by now.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            self._take_up()
            if self._run not in self.runs:
                self.runs.append(self._run)
            written = {*folders, *self.measured.get(name, {}).get("folders", ())}
            result |= dict(folders=sorted(written), run=self.runs.index(self._run))
            self.measured[name] = json.loads(json.dumps(result, default=str))
            text = json.dumps(dict(about=self.about, runs=self.runs, measured=self.measured), indent=1)
            write_whole(self.path, f"{text}\n")

    def _take_up(self) -> None:
        """Reads what other evaluations have added since."""
        stored = Results(self.path)
        if stored.measured:
            stored.go_on_with(self.about, {})
            self.runs, self.measured = stored.runs, {**self.measured, **stored.measured}


def _are_results(stored: Any) -> bool:
    """Whether what a JSON file holds has the form of the attributes of `Results`."""
    if not (isinstance(stored, dict) and isinstance(stored.get("about", {}), dict)):
        return False
    runs, measured = stored.get("runs"), stored.get("measured")
    if not (isinstance(runs, list) and isinstance(measured, dict)):
        return False
    kinds = dict(metrics=dict, classes=list, folders=list, settings=dict)
    return all(isinstance(run, dict) for run in runs) and all(
        isinstance(result, dict) and all(isinstance(result.get(key, kind()), kind) for key, kind in kinds.items())
        for result in measured.values()
    )


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Where two settings differ, as 'model.test_cfg.window was 384 then and is 512 now'."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            if key not in ASIDE:
                yield from differences(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{where}.{index}")
    elif old != new:
        yield f"{where} was {_short(old)} then and is {_short(new)} now"


def _short(value: Any, longest: int = 60) -> str:
    text = json.dumps(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
