"""What every run shares: registration, hooks, logging."""

custom_imports = dict(imports=["hclip_mmseg"], allow_failed_imports=False)
default_scope = "mmseg"

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="mmseg.AtomicCheckpointHook", by_epoch=False, interval=2000, max_keep_ckpts=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="mmseg.OpenVocabVisualizationHook"),
    # under keys of their own, so that a config with custom_hooks of its own keeps them
    relations=dict(type="mmseg.DCRCHook"),
    vocabulary=dict(type="mmseg.VocabularyHook"),
    iteration_seed=dict(type="mmseg.IterationSeedHook"),
    missed_validation=dict(type="mmseg.MissedValidationHook"),
)

visualizer = dict(type="OpenVocabVisualizer", vis_backends=[dict(type="LocalVisBackend")], name="visualizer")
log_processor = dict(by_epoch=False)
log_level = "INFO"

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
randomness = dict(seed=0)
load_from = None
resume = False
