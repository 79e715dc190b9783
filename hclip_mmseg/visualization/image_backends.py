"""What drawn images are called in each backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import LocalVisBackend
from numpy.typing import NDArray

from hclip_mmseg.files.writing import write_image

SUFFIX = ".png"


class ImageBackends:
    """For a visualizer whose images' names end in .png, which MLflow needs and files get from their backend."""

    _vis_backends: dict[str, Any]

    @master_only
    def add_image(self, name: str, image: NDArray[np.uint8], step: int = 0) -> None:
        """Give an image, RGB [H, W, 3], to every backend; see ``Visualizer.add_image``."""
        for backend in self._vis_backends.values():
            if isinstance(backend, LocalVisBackend):
                # MMEngine's own writing fails without a word, as on a full disk; `experiment` makes its folder known
                folder = Path(backend.experiment._img_save_dir)
                write_image(folder / f"{name.removesuffix(SUFFIX)}_{step}{SUFFIX}", image)
            else:
                backend.add_image(name, image, step)
