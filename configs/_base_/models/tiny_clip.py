"""The embedded tiny CLIP: a config that stands on this too says `clip=_base_.tiny_clip`."""

tiny_clip = dict(model="hclip_mmseg/demo_assets/tiny_clip.json", pretrained="hclip_mmseg/demo_assets/tiny_clip.pt")
