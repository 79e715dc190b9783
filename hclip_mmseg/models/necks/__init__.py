"""Registered necks."""

from hclip_mmseg.models.necks.text_encoder_neck import TextEncoderNeck

__all__ = ["TextEncoderNeck"]
