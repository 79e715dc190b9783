"""Label maps of 8 and 16 bits: loaded, learnt from, drawn and written."""

from io import BytesIO

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample
from PIL import Image
from tiny_models import tiny_segmentor

from hclip_mmseg.datasets.label_maps import LoadLabelMap, decode_label_map, label_table
from hclip_mmseg.evaluation import OpenVocabIoUMetric
from hclip_mmseg.models.losses import AllClassesBCELoss
from hclip_mmseg.visualization import draw_overlay
from hclip_mmseg.visualization.label_maps import write_label_map
from hclip_mmseg.vocabularies.labels import check_labels


def png(pixels, form="PNG"):
    content = BytesIO()
    Image.fromarray(pixels).save(content, format=form)
    return content.getvalue()


def load(path, **results):
    results = dict(seg_map_path=str(path), seg_fields=[], label_map=None, reduce_zero_label=False, **results)
    loaded = LoadLabelMap().transform(results)
    assert loaded["seg_fields"] == ["gt_seg_map"]
    return loaded["gt_seg_map"]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_numbers_come_back_as_they_were(kind, format, tmp_path):
    numbers = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, (7, 9)).astype(kind)
    path = tmp_path / f"map.{format.lower()}"
    Image.fromarray(numbers).save(path)
    loaded = load(path, ignore_index=np.iinfo(kind).max)
    assert loaded.dtype == kind and (loaded == numbers).all()


def test_palettes_are_no_colours(tmp_path):
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(numbers)
    image.putpalette(bytes(range(255, -1, -1)) * 3)
    image.save(tmp_path / "map.png")
    assert (load(tmp_path / "map.png") == numbers).all()


@pytest.mark.parametrize("ignore", [255, 65535])
@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("label_map", [None, {0: 1, 1: 0, 2: 255, 3: 3}])
def test_what_numbers_become(ignore, reduce, label_map):
    table = label_table(ignore, reduce, label_map)
    assert table.dtype == (np.uint8 if ignore == 255 else np.uint16)
    for number in range(ignore + 1):
        label = number
        if reduce:
            label = ignore if number in (0, ignore) else number - 1
        if label_map is not None:
            label = label_map.get(label, label)
        assert table[number] == label


def test_a_loader_follows_its_data_set(tmp_path):
    (tmp_path / "map.png").write_bytes(png(np.array([[0, 1, 2]], np.uint8)))
    loader = LoadLabelMap()
    common = dict(seg_map_path=str(tmp_path / "map.png"), reduce_zero_label=False)
    for label_map, expected in ((None, [0, 1, 2]), ({1: 7}, [0, 7, 2]), ({1: 8}, [0, 8, 2])):
        found = loader.transform(dict(common, seg_fields=[], label_map=label_map))
        assert found["gt_seg_map"].tolist() == [expected]


def test_more_bits_than_the_labels_have_are_refused(tmp_path):
    (tmp_path / "map.png").write_bytes(png(np.array([[0, 256]], np.uint16)))
    with pytest.raises(ValueError, match=r"map\.png holds the label 256, but labels up to 255 are expected"):
        load(tmp_path / "map.png")
    (tmp_path / "map.png").write_bytes(png(np.array([[0, 254]], np.uint16)))
    assert load(tmp_path / "map.png").tolist() == [[0, 254]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(np.zeros((2, 2, 3), np.uint8)), "colour channels, not a label map"),
        (png(np.zeros((50, 50), np.uint16))[:-40], "no image, or a truncated one"),
        (png(np.array([[1, 0.5]], np.float32), "TIFF"), "holds 0.5, and labels are whole numbers"),
        (png(np.array([[1, np.nan]], np.float32), "TIFF"), "holds nan, and labels are whole numbers"),
        (b"text", "no image, or a truncated one"),
        (b"", "no image, or a truncated one"),
    ],
)
def test_what_is_no_label_map_is_refused(content, message):
    with pytest.raises(ValueError, match=f"here.png .*{message}"):
        decode_label_map(content, "here.png")


def test_batches_and_loss_of_16_bits():
    labels = torch.tensor([[255, 65535, 3], [3, 255, 299]])
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels[None]))
    preprocessor = SegDataPreProcessor(size=(4, 5), pad_val=0, seg_pad_val=65535)
    batch = preprocessor(dict(inputs=[torch.zeros(3, 2, 3)], data_samples=[sample]), training=True)
    padded = batch["data_samples"][0].gt_sem_seg.data[0]
    assert torch.equal(padded[:2, :3], labels) and (padded[2:] == 65535).all() and (padded[:, 3:] == 65535).all()

    logits = torch.randn(1, 300, 4, 5, generator=torch.Generator().manual_seed(0))
    found = AllClassesBCELoss()(logits, padded[None], ignore_index=65535)
    total = 0.0
    for y in range(4):
        for x in range(5):
            for c in range(300):
                p = torch.sigmoid(logits[0, c, y, x])
                total -= torch.log(p if padded[y, x] == c else 1 - p)
    assert found.item() == pytest.approx(total.item() / logits.numel(), rel=1e-4)


def test_class_255_is_trained_in_a_segmentor():
    names = [f"thing {number}" for number in range(300)]
    model = tiny_segmentor(names=names)
    model.decode_head.ignore_index = 65535
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def loss(label):
        labels = torch.full((1, 64, 64), 65535)
        labels[:, :32] = label
        torch.manual_seed(0)
        losses = model.loss(image, [SegDataSample(gt_sem_seg=PixelData(data=labels))])
        return model.parse_losses(losses)[0].item()

    with torch.no_grad():
        assert loss(255) > 2 * loss(65535)  # it is missed in half of the pixels
        model.decode_head.ignore_index = 255
        with pytest.raises(ValueError, match="label 65535 in a label map is outside the vocabulary of 300 names"):
            loss(255)


def test_the_label_of_no_class_is_none_of_many():
    names = tuple(f"thing {number}" for number in range(300))
    model = tiny_segmentor(names=names, test_cfg=dict(mode="whole", window=64, clip_resolution=64, score_threshold=2.0))
    with torch.no_grad():
        found = model.eval().predict(torch.zeros(1, 3, 64, 64))[0]
    assert (found.pred_sem_seg.data == 65535).all()


def test_a_metric_does_not_cut_many_classes_to_8_bits(tmp_path):
    metric = OpenVocabIoUMetric(output_dir=str(tmp_path / "maps"))
    metric.dataset_meta = dict(classes=tuple(map(str, range(300))))
    with pytest.raises(ValueError, match="writes 8 bits, too few for 300 classes.*--out DIR"):
        metric.process({}, [])


def test_class_255_is_drawn_and_65535_is_not():
    names = [f"thing {number}" for number in range(300)]
    image = np.full((4, 6, 3), 100, np.uint8)
    labels = np.full((4, 6), 65535)
    labels[:, :3] = 255
    drawn = draw_overlay(image, labels, names, legend=False)
    assert (drawn[:, :2] != 100).any(axis=-1).all() and (drawn[:, 3:] == 100).all()


def test_written_label_maps_of_many_classes_load_again(tmp_path):
    labels = np.array([[0, 255, 256, 846, 65535]])
    write_label_map(tmp_path / "map.png", labels, [f"word {number}" for number in range(847)])
    assert load(tmp_path / "map.png", ignore_index=65535).tolist() == labels.tolist()


def load_beside(path, **results):
    return LoadLabelMap().transform(dict(seg_map_path=path, seg_fields=[], img_path="img/a.jpg", **results))


def test_a_label_map_of_another_size_is_named_with_its_image(tmp_path):
    path = str(tmp_path / "a.png")
    write_label_map(path, np.zeros((48, 64), np.uint8), ("cat", "dog"))
    assert load_beside(path, ori_shape=(48, 64))["gt_seg_map"].shape == (48, 64)
    with pytest.raises(ValueError, match=rf"{path} is 64 x 48 pixels, its image img/a.jpg is 128 x 96"):
        load_beside(path, ori_shape=(96, 128), img_shape=(48, 64))


def test_a_missing_label_map_is_named_with_its_image(tmp_path):
    with pytest.raises(ValueError, match="a.png of img/a.jpg is missing"):
        load_beside(str(tmp_path / "a.png"))


def test_a_sample_without_a_label_map_stays_as_it_is():
    results = dict(img_path="a.jpg", seg_fields=[])
    assert LoadLabelMap().transform(dict(results)) == results


@pytest.mark.parametrize(("mode", "said"), [("RGB", "3 colour channels"), ("LA", "grey with an alpha channel")])
def test_coloured_label_maps_are_refused_with_what_to_do(mode, said, tmp_path):
    Image.new(mode, (4, 3)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=f"a.png is .*{said}.*save the number of each pixel's class as grey"):
        load_beside(str(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ([[1, 2], [3, 3]], 3, "start at 1 want reduce_zero_label=True"),
        ([[0, 255]], 2, "0 and 255 want to be saved as 0 and 1"),
        ([[0, 7]], 3, "made for other class names"),
    ],
)
def test_the_likely_cause_of_a_strange_label(labels, classes, said):
    with pytest.raises(ValueError, match=f"in ann/a.png is outside .*{said}"):
        check_labels(torch.tensor([labels]), classes, dict(seg_map_path="ann/a.png"))


def test_labels_of_a_colour_image_are_told_from_a_label_map():
    with pytest.raises(ValueError, match=r"ann/a.png has labels of shape \[4, 4, 3\], as a colour image has"):
        check_labels(torch.zeros(4, 4, 3, dtype=torch.long), 2, dict(seg_map_path="ann/a.png"), 255)
    check_labels(torch.zeros(1, 4, 3, dtype=torch.long), 2, dict(), 255)
