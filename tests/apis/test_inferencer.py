"""Images and words in, label maps out."""

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.structures import SegDataSample
from PIL import Image

from hclip_mmseg.apis import OnnxInferencer, OpenVocabInferencer
from hclip_mmseg.apis.images import list_images, read_image


@pytest.fixture(scope="module")
def checkpoint(tiny_config, tmp_path_factory):
    from mmseg.registry import MODELS

    torch.manual_seed(3)
    model = MODELS.build({**Config.fromfile(tiny_config).model.to_dict(), "_scope_": "mmseg"})
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def inferencer(tiny_config, checkpoint):
    return OpenVocabInferencer(tiny_config, checkpoint, device="cpu")


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(path)
    return path


def test_a_result_is_in_the_words_asked_for(inferencer, image):
    (result,) = inferencer(image, "cat, grass, traffic light", scores=True)
    assert result.vocabulary == ("cat", "grass", "traffic light")
    assert result.labels.shape == (50, 70)
    assert result.scores.shape == (3, 50, 70)
    assert (result.scores.argmax(0) == result.labels).mean() > 0.999
    assert sum(result.shares().values()) == pytest.approx(1)
    assert result.overlay(legend=False).shape == (50, 70, 3)
    (again,) = inferencer(image, ["sea"])
    assert again.vocabulary == ("sea",) and (again.labels == 0).all()


def test_a_path_and_the_array_that_mmcv_reads_give_the_same(inferencer, image):
    import mmcv

    from_path, from_array = inferencer([image, mmcv.imread(str(image))], "cat, dog", scores=True)
    assert np.array_equal(from_path.image, from_array.image)
    assert np.array_equal(from_path.scores, from_array.scores)
    assert from_array.source == "image 1"


def test_the_segmentor_gives_the_same_scores(inferencer, image):
    import mmcv

    (result,) = inferencer(image, "cat, dog, tree", scores=True)
    bgr = torch.from_numpy(mmcv.imread(str(image)).transpose(2, 0, 1).copy())
    with torch.no_grad():
        (sample,) = inferencer.model.test_step(dict(inputs=[bgr]))
    assert np.array_equal(sample.seg_logits.data.numpy(), result.scores)


def test_results_of_other_words_than_asked_for_are_never_given(inferencer, image):
    cats, dogs = inferencer([image] * 2, "cat, grass"), inferencer([image] * 2, "dog, sky")
    assert next(dogs).vocabulary == ("dog", "sky")
    assert next(cats).vocabulary == ("cat", "grass")
    assert next(dogs).vocabulary == ("dog", "sky")
    first, second = inferencer([image], "cat"), inferencer([image], "cat")
    assert next(first).vocabulary == next(second).vocabulary == ("cat",)


def test_scores_that_nobody_asks_for_are_not_made(inferencer, image, monkeypatch):
    original, made = inferencer.model.test_step, []

    def watched(batch):
        made.append("seg_logits" in original(batch)[0])
        return original(batch)

    monkeypatch.setattr(inferencer.model, "test_step", watched)
    assert [next(inferencer(image, "cat", scores=wanted)).scores is None for wanted in (False, True)] == [True, False]
    assert made == [False, True]


def test_a_image_too_large_for_the_memory_does_not_end_the_rest(inferencer, image, monkeypatch):
    def full(batch):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    told = []
    with monkeypatch.context() as patch:
        patch.setattr(inferencer.model, "test_step", full)
        assert list(inferencer(image, "cat", on_error=lambda source, error: told.append(str(error)))) == []
        patch.setattr(inferencer.model, "test_step", lambda batch: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(inferencer(image, "cat"))
    assert told == [f"{image} of 50 x 70 pixels and 1 class names take more memory than there is; make it smaller, "
                    "or ask for fewer names"]  # fmt: skip


def test_the_callers_config_stays_as_it_is(tiny_config, checkpoint):
    config = Config.fromfile(tiny_config)
    config.model.backbone.clip.pretrained = "nowhere/clip.pt"
    before = config.pretty_text
    OpenVocabInferencer(config, checkpoint, device="cpu")
    assert config.pretty_text == before
    with pytest.raises(FileNotFoundError, match="clip.pt"):  # frozen CLIP needs it
        OpenVocabInferencer(config, device="cpu")


def test_without_a_checkpoint_it_is_plain_clip(tiny_config, image):
    inferencer = OpenVocabInferencer(tiny_config, device="cpu")
    assert inferencer.model.backbone.adapter is None
    assert type(inferencer.model.decode_head).__name__ == "CosineHead"
    (result,) = inferencer(image, "cat, dog")
    assert result.labels.max() <= 1


def test_words_are_needed_and_checked(tiny_config, checkpoint, image):
    inferencer = OpenVocabInferencer(tiny_config, checkpoint, device="cpu")
    with pytest.raises(ValueError, match="no class names"):
        inferencer(image)
    with pytest.raises(ValueError, match="'cat' is given 2 times"):
        inferencer(image, "cat, cat")
    with pytest.raises(ValueError, match="tokens"):
        inferencer(image, ["very " * 90 + "long cat"])


def test_an_option_that_there_is_none_of_is_named_with_the_nearest(inferencer, tiny_config, image):
    with pytest.raises(ValueError, match="^OpenVocabInferencer has no option 'panoptic' .its options are config, "):
        OpenVocabInferencer("absent.py", panoptic=True)
    with pytest.raises(ValueError, match="^OnnxInferencer has no option 'thread'; did you mean 'threads'"):
        OnnxInferencer("absent.onnx", thread=1)
    with pytest.raises(ValueError, match="^OpenVocabInferencer has no option 'treshold'; did you mean 'threshold'"):
        inferencer(image, "cat", treshold=0.5)
    with pytest.raises(ValueError, match="^OpenVocabInferencer has no option 'batchsize'; did you mean 'batch_size'"):
        inferencer([], "cat", batchsize=2)
    for size in (0, "4", 1.5):
        with pytest.raises(ValueError, match=f"^batch_size is a number of images, at least 1, not {size!r}$"):
            inferencer([], "cat", batch_size=size)
    with pytest.raises(ValueError, match="^a vocabulary has no option 'backgrounds'; did you mean 'background'"):
        inferencer.set_vocabulary("cat", backgrounds="sky")


def test_errors_are_handed_over_and_the_rest_is_done(inferencer, image, tmp_path):
    (tmp_path / "broken.png").write_bytes(image.read_bytes()[:300])
    failed = []
    sources = [tmp_path / "absent.png", image, tmp_path / "broken.png", np.zeros((4, 70, 3), np.uint8)]
    note = lambda source, error: failed.append((source, str(error)))  # noqa: E731
    results = list(inferencer(sources, "cat", on_error=note))
    assert [result.source for result in results] == [str(image)]
    assert [source for source, _ in failed] == [str(sources[0]), str(sources[2]), "image 3"]
    assert "no image at" in failed[0][1]
    assert "broken" in failed[1][1]
    assert "4 x 70 pixels, smaller than one patch of 8 x 8" in failed[2][1]
    with pytest.raises(FileNotFoundError):
        list(inferencer(sources, "cat"))


@pytest.mark.parametrize("batch_size", [2, 8])
def test_batches_give_the_same_labels_in_the_same_order(inferencer, batch_size, monkeypatch):
    draw = np.random.default_rng(7)
    sizes = [(50, 70), (50, 70), (50, 70), (48, 64), (50, 70), (4, 70), (50, 70)]
    images = [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    original, counts, failed = inferencer.model.test_step, [], []

    def counted(batch):
        counts.append(len(batch["inputs"]))
        return original(batch)

    note = lambda source, error: failed.append(source)  # noqa: E731
    alone = list(inferencer(images, "cat, dog, tree", on_error=note))
    monkeypatch.setattr(inferencer.model, "test_step", counted)
    together = list(inferencer(images, batch_size=batch_size, on_error=note))
    assert counts == ([2, 1, 1, 2] if batch_size == 2 else [3, 1, 2])
    assert failed == ["image 5", "image 5"]
    assert [result.source for result in together] == [result.source for result in alone]
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.image, other.image) and np.array_equal(one.labels, other.labels)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        inferencer(images, batch_size=0)


def test_one_image_of_a_batch_that_fails_does_not_take_the_others_along(inferencer, image, monkeypatch):
    original = inferencer.model.test_step

    def breaks_at(batch):
        if any(int(pixels[0, 0, 0]) == 13 for pixels in batch["inputs"]):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return original(batch)

    images = [np.full((50, 70, 3), value, np.uint8) for value in (1, 13, 2)]
    failed = []
    monkeypatch.setattr(inferencer.model, "test_step", breaks_at)
    results = inferencer(images, "cat", batch_size=3, on_error=lambda source, error: failed.append(source))
    assert [result.source for result in results] == ["image 0", "image 2"] and failed == ["image 1"]


def test_an_image_in_any_form_gives_the_same(inferencer, image):
    pillow = Image.open(image)
    rgb = torch.from_numpy(np.array(pillow.convert("RGB"))).permute(2, 0, 1)
    forms = [image, pillow, rgb, rgb / 255, torch.stack([rgb])[0]]
    results = list(inferencer(forms, "cat, dog"))
    assert all(np.array_equal(result.image, results[0].image) for result in results)
    assert all(np.array_equal(result.labels, results[0].labels) for result in results)
    assert len(list(inferencer(torch.stack([rgb, rgb])))) == 2 and len(list(inferencer(pillow))) == 1
    for wrong, said in ((rgb[:1], r"RGB \[3, H, W\]"), (rgb * 2.0, "floating point in 0..1"), (rgb.long(), "uint8")):
        with pytest.raises(ValueError, match=said):
            list(inferencer(wrong))


def test_patterns_and_folders_of_folders(tmp_path):
    for name in ("a/b/1.png", "a/2.jpg", "a/[x].png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(*sources, **options):
        return [path.relative_to(tmp_path).as_posix() for path in list_images(sources, **options)]

    assert found(tmp_path / "a") == ["a/2.jpg", "a/[x].png"]
    assert found(tmp_path / "a", recursive=True) == ["a/2.jpg", "a/[x].png", "a/b/1.png"]
    assert found(str(tmp_path / "a/*.jpg")) == ["a/2.jpg"]
    assert found(str(tmp_path / "**/*.png")) == ["a/[x].png", "a/b/1.png"]
    assert found(tmp_path / "a/[x].png") == ["a/[x].png"], "a file that is called like a pattern"
    with pytest.raises(ValueError, match="no file fits the pattern"):
        list_images([str(tmp_path / "*.gif")])
    (tmp_path / "c/d").mkdir(parents=True)
    with pytest.raises(ValueError, match="looked into with --recursive"):
        list_images([tmp_path / "c"])
    with pytest.raises(ValueError, match="an empty path is given: give an image"):
        list_images([""])


def test_addresses_of_files_are_paths(image, tmp_path):
    spaced = image.rename(tmp_path / "a cat #1.png")
    address = spaced.as_uri()
    assert "%20" in address
    assert list_images([address, tmp_path.as_uri(), f"file://localhost{spaced}"]) == [spaced] * 3
    assert np.array_equal(read_image(address), read_image(spaced))
    with pytest.raises(ValueError, match="is a file of the machine 'elsewhere': one of this machine is file:///PATH"):
        read_image("file://elsewhere/cat.png")


@pytest.fixture
def server(tmp_path):
    """The address of a server of this folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_images_from_the_network_and_the_standard_input(server, image, monkeypatch):
    address = f"{server}/image.png?size=large"
    assert list_images([address, "-"]) == [address, "-"]
    assert np.array_equal(read_image(address), read_image(image))
    with pytest.raises(ValueError, match="absent.png cannot be fetched: HTTP Error 404"):
        read_image(f"{server}/absent.png")
    monkeypatch.setattr("hclip_mmseg.apis.images.LONGEST_DOWNLOAD", 100)
    with pytest.raises(ValueError, match="is larger than"):
        read_image(address)
    for content in (image.read_bytes(), b""):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO(content)))
        if content:
            assert np.array_equal(read_image("-"), read_image(image))
        else:
            with pytest.raises(ValueError, match="the standard input is empty"):
                read_image("-")


@pytest.mark.parametrize("array", [np.zeros((9, 9)), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_arrays_of_another_kind_are_refused(inferencer, array):
    with pytest.raises(ValueError, match=r"image 0 must be BGR uint8 \[H, W, 3\]"):
        list(inferencer([array], "cat"))


@pytest.mark.parametrize("given", [3, None, b"bytes", [None], ["image.png", 3]])
def test_what_is_no_form_of_an_image_is_refused(inferencer, given):
    with pytest.raises(ValueError, match="^an image is a path, .* and not of type (int|NoneType|bytes)$"):
        inferencer(given, "cat")


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_other_kinds_of_images_become_rgb(mode, tmp_path):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", (12, 10), (255, 255, 255)).convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (10, 12, 3)
    assert image.dtype == np.uint8
    assert (image == 255).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("empty.jpg", b"", "is empty"), ("text.png", b"this is no image", "is no image, or of a format")],
)
def test_what_is_no_image_is_refused(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / name)


@pytest.mark.parametrize(("numbers", "said"), [(np.float32(0.5), "mode 'F'"), (np.int32(70_000), "more than 16 bits")])
def test_images_of_more_than_16_bits_are_refused(numbers, said, tmp_path):
    Image.fromarray(np.full((9, 9), numbers)).save(tmp_path / "deep.tif")
    with pytest.raises(ValueError, match=said):
        read_image(tmp_path / "deep.tif")


def test_a_image_of_too_many_pixels_is_not_called_broken(tmp_path, monkeypatch):
    Image.new("RGB", (40, 40)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="large.png is too large to be read at once"):
        read_image(tmp_path / "large.png")


def test_a_rotated_photograph_is_set_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (20, 10, 3)


def test_a_folder_stands_for_its_images(tmp_path):
    for name in ("b.jpg", "a.PNG", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images([tmp_path, "c.jpg"])] == ["a.PNG", "b.jpg", "c.jpg"]
    (tmp_path / "sub").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        list_images([tmp_path / "sub"])


@pytest.mark.parametrize(
    ("kind", "size"), [("RGB", (90, 60)), ("L", (31, 47)), ("turned", (60, 40)), ("RGB", (700, 730))]
)
def test_the_published_resize_is_pillows_of_upright_images(kind, size, tiny_config, checkpoint, repository, tmp_path):
    config, row = Config.fromfile(tiny_config), repository / "configs/cat_seg/cat-seg_vitb16_coco-stuff.py"
    config.test_dataloader = Config.fromfile(row).test_dataloader
    pixels = np.random.default_rng(4).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file, exif = Image.fromarray(pixels).convert("L" if kind == "L" else "RGB"), Image.Exif()
    upright = file.convert("RGB")
    if kind == "turned":
        exif[0x0112], upright = 6, upright.transpose(Image.Transpose.ROTATE_270)
    file.save(tmp_path / "image.png", exif=exif)
    scale = 640 / min(upright.size)
    copy = upright.resize([int(side * scale + 0.5) for side in upright.size], Image.Resampling.BILINEAR)

    inferencer = OpenVocabInferencer(config, checkpoint, device="cpu")
    (found,) = inferencer(tmp_path / "image.png", "cat, dog", scores=True)
    bgr = torch.from_numpy(np.asarray(copy)[..., ::-1].transpose(2, 0, 1).copy())
    sample = SegDataSample(metainfo=dict(ori_shape=upright.size[::-1]))
    with torch.no_grad():
        (expected,) = inferencer.model.test_step(dict(inputs=[bgr], data_samples=[sample]))
    assert np.array_equal(found.scores, expected.seg_logits.data.numpy())
    assert np.array_equal(found.labels, expected.pred_sem_seg.data[0].numpy())

    inferencer = OpenVocabInferencer(config, checkpoint, device="cpu", resize="direct")
    (direct,) = inferencer(tmp_path / "image.png", "cat, dog", scores=True)
    assert direct.scores.shape == found.scores.shape and not np.array_equal(direct.scores, found.scores)
