"""An open-vocabulary Faster R-CNN on frozen CLIP ViT-B/16, in the manner of F-ViT (CLIPSelf, CLIM) and F-VLM."""

norm = dict(type="GN", num_groups=32)  # the same for any number of images and processes

data_preprocessor = dict(
    type="DetDataPreprocessor",
    mean=[122.7709383, 116.7460125, 104.09373615],
    std=[68.5005327, 66.6321579, 70.32316305],
    bgr_to_rgb=True,
    pad_size_divisor=32,
)
model = dict(
    type="OpenVocabFasterRCNN",
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type="mmseg.HCLIPBackbone",
        clip=dict(model="ViT-B-16-quickgelu", pretrained="pretrained/ViT-B-16.pt"),
        train_positions=False,
        guidance_layers=(),
        guidance_channels=(),
        out_layers=(3, 5, 7, 11),
        residual="own",
    ),
    text_encoder=dict(type="mmseg.TextEncoderNeck", templates="vild-63"),
    neck=[
        dict(type="PatchPyramid", channels=768, norm_cfg=norm),
        dict(type="FPN", in_channels=[768, 768, 768, 768], out_channels=256, norm_cfg=norm, num_outs=5),
    ],
    rpn_head=dict(
        type="RPNHead",
        in_channels=256,
        feat_channels=256,
        num_convs=2,
        anchor_generator=dict(type="AnchorGenerator", scales=[8], ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64]),
        bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type="L1Loss", loss_weight=1.0),
    ),
    roi_head=dict(
        type="OpenVocabRoIHead",
        bbox_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(
            type="OpenVocabBBoxHead",
            text_channels=512,
            temperature=50.0,
            background_weight=0.6,
            num_cls_fcs=1,
            num_reg_fcs=1,
            in_channels=256,
            conv_out_channels=256,
            fc_out_channels=1024,
            roi_feat_size=7,
            norm_cfg=norm,
            bbox_coder=dict(type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
            loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type="L1Loss", loss_weight=1.0),
        ),
        region_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=1, sampling_ratio=0),
            out_channels=512,
            featmap_strides=[16],
        ),
        clip_temperature=75.0,
        base_exponent=0.1,
        novel_exponent=0.8,
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type="MaxIoUAssigner",
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type="RandomSampler", num=256, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(nms_pre=2000, max_per_img=1000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(
            assigner=dict(
                type="MaxIoUAssigner",
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type="RandomSampler", num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000, nms=dict(type="nms", iou_threshold=0.7), min_bbox_size=0),
        rcnn=dict(score_thr=0.01, nms=dict(type="nms", iou_threshold=0.4), max_per_img=100),
    ),
)
