"""Each benchmark from its owners' layout to its metric."""

import io
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from miniature_benchmarks import ADE_TITLES, CONTEXT_NAMES, OWNERS, write_owners
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, METRICS
from mmseg.structures import SegDataSample
from PIL import Image

from hclip_mmseg.benchmarks.choice import choose
from hclip_mmseg.datasets import LoadReducedImageFromFile
from hclip_mmseg.datasets.benchmarks import BENCHMARKS, find_benchmark
from hclip_mmseg.datasets.preparation.processes import Options
from hclip_mmseg.datasets.preparation.registry import find_preparation
from hclip_mmseg.engine.vocabulary_hook import VocabularyHook
from hclip_mmseg.models.necks import TextEncoderNeck
from hclip_mmseg.vocabularies import load_vocabulary
from hclip_mmseg.vocabularies.aliases import VOCABULARY_OF


def prepare(name, root, **options):
    root.mkdir(parents=True, exist_ok=True)
    truth = write_owners(OWNERS[name], root)
    find_preparation(name).run(root, Options(partial=True, **options))
    return truth


def build(config, root, **changes):
    settings = dict(data_root=str(root), _scope_="mmseg", serialize_data=False)  # which takes long for two images
    return DATASETS.build({**config.to_dict(), **settings, **changes})


def by_hand(pairs, classes):
    """Mean IoU, mean accuracy, overall accuracy in percent, and IoU of each class, from names of pixels."""
    predicted = np.concatenate([predicted.ravel() for predicted, _ in pairs])
    truth = np.concatenate([truth.ravel() for _, truth in pairs])
    predicted, truth = predicted[truth != ""], truth[truth != ""]
    iou, accuracy = {}, []
    for name in classes:
        both = ((predicted == name) & (truth == name)).sum()
        either = ((predicted == name) | (truth == name)).sum()
        if either:
            iou[name] = 100 * both / either
        if (truth == name).any():
            accuracy.append(100 * both / (truth == name).sum())
    return np.mean(list(iou.values())), np.mean(accuracy), 100 * (predicted == truth).mean(), iou


def test_every_benchmark_of_the_papers_is_tried():
    assert set(OWNERS) == {name for name in BENCHMARKS if "panoptic" not in name}


@pytest.mark.parametrize("name", OWNERS)
def test_from_the_owners_files_to_the_metric(name, tmp_path):
    benchmark = BENCHMARKS[name]
    assert benchmark.missing(tmp_path / "data")
    truth = prepare(name, tmp_path / "data")
    assert not benchmark.missing(tmp_path / "data")

    config = Config.fromfile(benchmark.config_path)
    assert config.test_dataloader.dataset.data_root == benchmark.data_root
    dataset = build(config.test_dataloader.dataset, tmp_path / "data")
    assert len(dataset) == 2
    classes, asked = dataset.metainfo["classes"], dataset.metainfo.get("vocabulary", dataset.metainfo["classes"])
    assert asked == load_vocabulary(benchmark.vocabulary).asked
    metric = METRICS.build(config.test_evaluator)
    metric.dataset_meta = dataset.metainfo

    random, pairs = np.random.default_rng(2), []
    for item in dataset:
        sample = item["data_samples"]
        stem = next(stem for stem in truth if stem in sample.img_path)
        labels = sample.gt_sem_seg.data[0].numpy()
        meant = np.vectorize(lambda label: classes[label] if label < len(classes) else "", otypes=[object])(labels)
        assert (meant == truth[stem]).all()
        assert sample.ori_shape == labels.shape

        words = random.choice(list(OWNERS[name].asked), labels.shape).astype(object)
        counted = np.vectorize(OWNERS[name].asked.get, otypes=[object])(words)
        right = random.random(labels.shape) < 0.4  # many pixels right, so that the figures mean something
        known = [word for word, fold in OWNERS[name].asked.items()]
        for word in known:
            place = right & (truth[stem] == OWNERS[name].asked[word])
            words[place], counted[place] = word, OWNERS[name].asked[word]
        pairs.append((counted, truth[stem]))
        predicted = torch.from_numpy(np.vectorize(asked.index)(words))
        sample.set_data({"pred_sem_seg": PixelData(data=predicted[None])})
        sample.set_metainfo({"vocabulary": asked})
        metric.process({}, [sample.to_dict()])
    found = metric.evaluate(2)
    mean_iou, mean_accuracy, accuracy, iou = by_hand(pairs, classes)
    assert found["mIoU"] == pytest.approx(mean_iou, abs=0.01) and 10 < mean_iou < 90
    assert found["mAcc"] == pytest.approx(mean_accuracy, abs=0.01)
    assert found["aAcc"] == pytest.approx(accuracy, abs=0.01)
    for result in metric.class_results:
        assert (result["IoU"] is None) == (result["name"] not in iou)
        if result["IoU"] is not None:
            assert result["IoU"] == pytest.approx(iou[result["name"]], abs=0.01)


@pytest.mark.parametrize(("name", "title"), [("A-847", ADE_TITLES[255]), ("PC-459", CONTEXT_NAMES[255])])
def test_class_255_counts(name, title, tmp_path):
    prepare(name, tmp_path)
    config = Config.fromfile(BENCHMARKS[name].config_path)
    dataset = build(config.test_dataloader.dataset, tmp_path)
    metric = METRICS.build(config.test_evaluator)
    metric.dataset_meta = dataset.metainfo
    pixels = 0
    for item in dataset:
        labels = item["data_samples"].gt_sem_seg.data
        pixels += int((labels == 255).sum())
        assert (labels == 65535).any()
        everything = SegDataSample(gt_sem_seg=PixelData(data=labels), pred_sem_seg=PixelData(data=labels * 0 + 255))
        metric.process({}, [everything.to_dict()])
    metric.evaluate(2)
    result = metric.class_results[255]
    assert result["name"] == title and result["pixels"] == pixels > 0
    others = sum(one["pixels"] for one in metric.class_results) - pixels
    assert result["IoU"] == pytest.approx(100 * pixels / (pixels + others), abs=0.01)


@pytest.mark.parametrize("name", ["A-847", "PC-459"])
def test_augmentation_keeps_16_bits(name, tmp_path):
    prepare(name, tmp_path)
    config = Config.fromfile(BENCHMARKS[name].config_path)
    ordinary = build(config.train_dataloader.dataset, tmp_path)
    seen = set()
    for _ in range(2):
        labels = ordinary[0]["data_samples"].gt_sem_seg.data
        assert labels.shape == (1, 384, 384)
        seen |= set(labels.unique().tolist())
    unscaled = [step for step in config.train_pipeline if step["type"] != "mmseg.PublishedResize"]
    padded = build(config.train_dataloader.dataset, tmp_path, pipeline=unscaled)[0]["data_samples"].gt_sem_seg.data[0]
    original = build(config.train_dataloader.dataset, tmp_path, pipeline=config.test_pipeline)[0]["data_samples"]
    height, width = original.gt_sem_seg.data.shape[1:]
    assert padded.shape == (384, 384) and (padded[height:] == 65535).all() and (padded[:, width:] == 65535).all()
    inside, whole = padded[:height, :width], original.gt_sem_seg.data[0]
    assert torch.equal(inside, whole) or torch.equal(inside, whole.flip(1))
    assert seen <= set(whole.unique().tolist())


def test_a_part_of_the_classes_is_asked_for_by_its_own_names(tmp_path):
    truth = prepare("COCO-Object", tmp_path)
    config = Config.fromfile(BENCHMARKS["COCO-Object"].config_path).test_dataloader.dataset
    dataset = build(config, tmp_path, metainfo=dict(classes=("dog", "background")))
    asked, folds = dataset.metainfo["vocabulary"], dataset.metainfo["folds"]
    assert "person" not in asked and asked[0] == "dog" and folds[0] == 0 and set(folds[1:]) == {1}
    labels = dataset[0]["data_samples"].gt_sem_seg.data[0].numpy()
    names = truth["first"]
    assert (labels[names == "dog"] == 0).all() and (labels[names == "background"] == 1).all()
    assert (labels[(names == "person") | (names == "")] == 255).all()


def test_a_part_of_many_classes_ignores_65535(tmp_path):
    truth = prepare("A-847", tmp_path)
    config = Config.fromfile(BENCHMARKS["A-847"].config_path).test_dataloader.dataset
    kept = ADE_TITLES[100:400]
    dataset = build(config, tmp_path, metainfo=dict(classes=kept))
    assert len(dataset.metainfo["palette"]) == 300
    for item, names in zip(dataset, truth.values(), strict=True):
        labels = item["data_samples"].gt_sem_seg.data[0].numpy()
        expected = [[kept.index(name) if name in kept else 65535 for name in row] for row in names]
        assert (labels == expected).all() and 155 in labels


def test_unknown_classes_are_refused(tmp_path):
    prepare("A-150", tmp_path)
    config = Config.fromfile(BENCHMARKS["A-150"].config_path).test_dataloader.dataset
    with pytest.raises(ValueError, match="ADE20K150Dataset has no classes unicorn"):
        build(config, tmp_path, metainfo=dict(classes=("wall", "unicorn")))


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        (
            "Cityscapes",
            "gtFine/val/ulm/ulm_second_000019_gtFine_labelTrainIds.png",
            "1 of 2 label maps of Cityscapes19Dataset.*ulm_second.*tools/prep",
        ),
        ("PAS-20", "JPEGImages/second.jpg", "1 of 2 images of .*second.jpg"),
    ],
)
def test_missing_files_are_named_before_the_first_is_read(name, file, message, tmp_path):
    prepare(name, tmp_path)
    (tmp_path / file).unlink()
    config = Config.fromfile(BENCHMARKS[name].config_path).test_dataloader.dataset
    with pytest.raises(FileNotFoundError, match=message):
        build(config, tmp_path)


@pytest.mark.parametrize("name", ["A-847", "A-150"])
def test_images_are_read_as_their_pixels_are_stored(name, tmp_path):
    prepare(name, tmp_path)
    path = next(tmp_path.rglob("validation/**/first.jpg"))
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 6  # taken with the camera on its side
    image.save(path, exif=exif)
    dataset = build(Config.fromfile(BENCHMARKS[name].config_path).test_dataloader.dataset, tmp_path)
    sample = dataset[0]["data_samples"]
    assert sample.ori_shape == sample.gt_sem_seg.data.shape[1:] == (12, 20)
    height, width = dataset[0]["inputs"].shape[1:]
    assert height < width, "not turned"


def test_the_full_ade20k_is_evaluated_on_copies_of_512(tmp_path):
    prepare("A-847", tmp_path)
    settings = Config.fromfile(BENCHMARKS["A-847"].config_path).test_dataloader.dataset
    load = settings.pipeline[0]
    assert load.short_side == 512
    settings.pipeline = [step for step in settings.pipeline if not step["type"].endswith("PublishedResize")]
    sample = build(settings, tmp_path)[0]
    assert sample["inputs"].shape[1:] == (12, 20), "smaller ones stay"
    truth = sample["data_samples"].gt_sem_seg.data[0].numpy()
    load.short_side = 9
    sample = build(settings, tmp_path)[0]
    stored = cv2.imread(sample["data_samples"].img_path)
    file = io.BytesIO()
    reduced = cv2.resize(stored, (15, 9), interpolation=cv2.INTER_LINEAR)
    Image.fromarray(cv2.cvtColor(reduced, cv2.COLOR_BGR2RGB)).save(file, "JPEG", quality=75)
    expected = np.asarray(Image.open(file))[..., ::-1]
    assert (sample["inputs"].numpy() == expected.transpose(2, 0, 1)).all()
    labels = sample["data_samples"].gt_sem_seg.data[0].numpy()
    assert (labels == cv2.resize(truth, (15, 9), interpolation=cv2.INTER_NEAREST)).all() and labels.max() == 65535
    assert sample["data_samples"].ori_shape == (9, 15), "so predictions are made at that size"
    with pytest.raises(ValueError, match="short_side must be at least 1, not 0"):
        LoadReducedImageFromFile(short_side=0)


def test_every_config_reads_images_as_their_pixels_are_stored(repository):
    def steps(part):
        if isinstance(part, dict):
            yield part
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            yield from steps(inner)

    loaders = [
        (path.name, step.get("color_type"))
        for path in sorted((repository / "configs/_base_").glob("[dm]*/*.py"))
        for step in steps(Config.fromfile(path).to_dict())
        if str(step.get("type")).endswith("ImageFromFile")
    ]
    assert len(loaders) > 20 and {color for _, color in loaders} == {"color_ignore_orientation"}, loaders


@pytest.mark.parametrize("name", OWNERS)
def test_names_are_what_a_model_can_be_asked_for(name):
    asked = load_vocabulary(BENCHMARKS[name].vocabulary).asked
    neck = TextEncoderNeck(asked, templates=["a photo of a {}"])
    assert neck.vocabulary == asked


def test_several_names_a_class_cannot_be_trained(tmp_path):
    prepare("VOC21", tmp_path)
    dataset = build(Config.fromfile(BENCHMARKS["VOC21"].config_path).test_dataloader.dataset, tmp_path)
    model = SimpleNamespace(takes_names=True)
    runner = SimpleNamespace(train_dataloader=SimpleNamespace(dataset=dataset), model=model)
    with pytest.raises(ValueError, match="PascalVOC21Dataset can be tested on but not trained on"):
        VocabularyHook().before_train(runner)


def test_a_project_without_configs_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("hclip_mmseg.datasets.benchmark.configs_folder", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"ade20k-847\.py of the benchmark A-847.*copy of the whole project"):
        _ = BENCHMARKS["A-847"].config_path


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("A-847", "A-847 a847 ADE20K-847 ade20k_847 ade20k-847 adefull ADEfull ADE847"),
        ("A-150", "a-150 ADE150 ade20k_150 ADE20K-150"),
        ("PC-59", "PC59 pc_59 pascal-context-59 pascal_context_59"),
        ("PAS-20", "voc20 VOC20 pas20 pascal-voc-20"),
        ("VOC21", "VOC-21 voc21 PAS-21"),
        ("COCO-Stuff", "coco-stuff COCO_Stuff coco_stuff_171"),
        ("ADE20K-panoptic", "ade20k_panoptic"),
    ],
)
def test_a_benchmark_in_every_spelling(name, spellings):
    for spelling in spellings.split():
        assert find_benchmark(spelling) is BENCHMARKS[name], spelling
        prepared_by = find_preparation(spelling)
        assert BENCHMARKS[name].preparation == prepared_by.name
        assert choose([spelling, name]) == (BENCHMARKS[name],)


def test_spellings_are_unambiguous():
    for benchmark in BENCHMARKS.values():
        for spelling in (benchmark.name, *benchmark.aliases):
            assert [other.name for other in BENCHMARKS.values() if other.is_called(spelling)] == [benchmark.name]
    assert find_benchmark("COCO") is None and find_benchmark("A-84") is None


def test_vocabularies_are_called_by_the_names_of_their_benchmarks():
    for name, vocabulary in VOCABULARY_OF.items():
        assert find_benchmark(name).vocabulary == vocabulary
