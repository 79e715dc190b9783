"""H-CLIP, ViT-L/14, with gradients, optimizer states and, between steps, trained weights sharded (FSDP).

    tools/dist_train.sh configs/hclip/hclip_vitl14_coco-stuff_fsdp.py 4 --cfg-options train_dataloader.batch_size=1

Checkpoints hold the whole model: tools/test.py takes them with this config or the one that it inherits, in one process
or several. Tried without GPUs only: two CPU processes (gloo) train, save, resume and validate a tiny model as one does.
"""

_base_ = ["./hclip_vitl14_coco-stuff.py"]

runner_type = "FlexibleRunner"
strategy = dict(type="ShardedStrategy")
