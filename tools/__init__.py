"""The commands: each module reads its arguments and makes one call into hclip_mmseg."""
