"""A benchmark: its config, names and prepared files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hclip_mmseg.files.paths import configs_folder
from hclip_mmseg.vocabularies.aliases import plain_spelling


def same_name(first: str, second: str) -> bool:
    """Whether two names differ in nothing but upper and lower case, hyphens, underscores and blanks."""
    return _letters(first) == _letters(second)


def _letters(name: str) -> str:
    return plain_spelling(name).replace("_", "")


@dataclass(frozen=True)
class Benchmark:
    """A data set as one column of the papers' tables.

    Attributes:
        name: its canonical name, such as 'A-847'.
        config: a file in configs/_base_/datasets that has ``test_dataloader`` and ``test_evaluator``.
        vocabulary: name of the list that the model is asked for; see ``load_vocabulary``.
        data_root: its folder as the config has it, relative to the working directory or the project's folder.
        prepared: patterns of files and folders below ``data_root``; once each has a match, it can be read.
        aliases: other names that papers call it by.
        scope: whose registries the types in its config are looked for in, 'mmseg' or 'mmdet' (panoptic ones).
        preparation: name of the :class:`~.preparation.declaration.Preparation` that declares it.
    """

    name: str
    config: str
    vocabulary: str
    data_root: str
    prepared: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    scope: str = "mmseg"
    preparation: str = ""

    def is_called(self, name: str) -> bool:
        """Whether a name is this benchmark's, an alias, its vocabulary's or its config's, in any spelling."""
        known = (self.name, *self.aliases, self.vocabulary, Path(self.config).stem)
        return any(same_name(name, each) for each in known)

    @property
    def panoptic(self) -> bool:
        """Whether it asks for segments, which not every model gives."""
        return self.scope == "mmdet"

    @property
    def config_path(self) -> Path:
        """The config file.

        Raises:
            FileNotFoundError: if there is no such file.
        """
        path = configs_folder() / "_base_/datasets" / self.config
        if not path.is_file():
            raise FileNotFoundError(
                f"no config {path} of the benchmark {self.name}: install the package again, or run it from a copy of "
                "the whole project"
            )
        return path

    def missing(self, root: str | Path) -> list[Path]:
        """What of the prepared data is not in a folder, which stands for ``data_root``."""
        return [Path(root) / pattern for pattern in self.prepared if next(Path(root).glob(pattern), None) is None]
