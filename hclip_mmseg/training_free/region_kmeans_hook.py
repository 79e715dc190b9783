"""Finds the clusters of a data set's regions before it is segmented."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from sklearn.cluster import KMeans
from tqdm import tqdm

from hclip_mmseg.models.open_vocab_model import model_inside


@HOOKS.register_module()
class RegionKMeansHook(Hook):
    """Goes once through the test data and gathers the features of its regions into the model's clusters.

    No label is read. For an ``UnsupervisedSegmentor``.

    Args:
        seed: of the k-means.
        restarts: of the k-means; the best of them counts.
    """

    priority = "ABOVE_NORMAL"

    def __init__(self, seed: int = 0, restarts: int = 5) -> None:
        self.seed, self.restarts = seed, restarts

    def before_test_epoch(self, runner: Runner) -> None:
        """Sets the model's centres.

        Raises:
            ValueError: if the data has fewer regions than the model has clusters.
        """
        model = model_inside(runner.model)
        gathered = []
        for batch in tqdm(runner.test_dataloader, desc="regions", unit="batch", disable=None):
            inputs = model.data_preprocessor(batch, False)["inputs"]
            gathered += [regions.features.float().cpu().numpy() for regions in model.extract_feat(inputs)]
        parts = all_gather_object(np.concatenate(gathered))
        features, clusters = np.concatenate(parts), len(model.centres)
        if len(features) < clusters:
            raise ValueError(f"{len(features)} regions in the data cannot make {clusters} clusters")
        centres = [None]
        if is_main_process():  # of two equally good results every process must have the same
            centres = [KMeans(clusters, n_init=self.restarts, random_state=self.seed).fit(features).cluster_centers_]
        broadcast_object_list(centres)
        runner.logger.info(f"{len(features)} regions gathered into {clusters} clusters")
        model.centres.copy_(torch.from_numpy(centres[0]))
