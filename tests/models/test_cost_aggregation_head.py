import pytest
import torch

from hclip_mmseg.models.decode_heads import CostAggregationHead

SMALL = dict(
    text_channels=16, dim=16, layers=1, heads=2, window=4, appearance_dim=8, text_guidance_dim=8,
    decoder_channels=(16, 16), guidance_channels=(), guidance_projections=(),
)  # fmt: skip


def test_an_untrained_head_with_a_prior_starts_near_it():
    torch.manual_seed(0)
    head = CostAggregationHead(**SMALL, prior=0.02)
    head.aggregator.decoder.score.weight.data.zero_()
    logits = head((torch.randn(1, 16, 8, 8), torch.randn(5, 1, 16)))
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, 0.02), atol=1e-6, rtol=0)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.5])
def test_a_prior_outside_of_0_and_1_is_refused(prior):
    with pytest.raises(ValueError, match=f"prior .*{prior}"):
        CostAggregationHead(**SMALL, prior=prior)
