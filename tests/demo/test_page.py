"""The page in a browser: headless Chromium, driven by Playwright."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from threading import Event
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from hclip_mmseg.demo.asking import answer
from hclip_mmseg.demo.models import offered_models
from hclip_mmseg.demo.serve import serving

pytest.importorskip("gradio", reason='Gradio is not installed: pip install "hclip-mmseg[demo]"')
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium here: apt-get install chromium", allow_module_level=True)

MINUTE = 60_000  # milliseconds; nothing here takes as long
NAMES = "grass, water, red striped circle"


@pytest.fixture(scope="module")
def address():
    with serving(offered_models(()), port=None, device="cpu") as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page as a visitor of its own: ``visit(query)`` -> Playwright's page."""
    contexts = []

    def opened(query: str = ""):
        contexts.append(browser.new_context(accept_downloads=True))
        contexts[-1].set_default_timeout(MINUTE)
        page = contexts[-1].new_page()
        page.goto(address + query)
        page.locator("#find").wait_for()
        playwright.expect(page.locator("#names textarea")).not_to_have_value("", timeout=MINUTE)  # restored
        return page

    yield opened
    for context in contexts:
        context.close()


def titles(page, place: str = "#drawn") -> dict[str, str]:
    """Class name -> share of the image, as the drawing says them under the mouse."""
    page.locator(f"{place} svg.found").wait_for()
    found = page.locator(f"{place} svg.found title").all_text_contents()
    return dict(text.rsplit(", ", 1) for text in found)


def find(page, **said: str | None) -> dict[str, str]:
    """Asks, and waits for the answer to what is ``said`` then: field -> its value in the page's address, if any."""

    def answered(url: str) -> bool:
        query = parse_qs(urlsplit(url).query)
        return all(query.get(name) == (value and [value]) for name, value in said.items())

    page.locator("#find").click()
    page.wait_for_url(answered, timeout=MINUTE)
    return titles(page)


def drop(page, file: Path) -> None:
    """Gives a file in the place of the image that is there, and waits until the page has it."""
    page.locator("#image button[aria-label='Clear'], #image button[aria-label='Remove Image']").first.click()
    page.locator("#image input[type=file]").first.set_input_files(file)
    page.locator(f"#image img[src*='{file.name}']").wait_for(state="attached")


def test_names_threshold_and_background_change_what_is_found(visit):
    page = visit()
    page.locator("#names textarea").fill(NAMES)
    everything = find(page, names=NAMES)
    assert set(everything) <= {"grass", "water", "red striped circle"} and len(everything) > 1
    rows = page.locator("#table tbody tr").all_text_contents()
    assert any("grass" in row for row in rows)
    page.locator("#maps img").first.wait_for()
    page.locator("#threshold input[type=number]").fill("0.99")
    page.locator("#background textarea, #background input").first.fill("snow, sand")
    fewer = find(page, threshold="0.99", background="snow, sand")
    assert sum(float(share[:-1]) for share in fewer.values()) < sum(float(share[:-1]) for share in everything.values())
    page.locator("#threshold input[type=number]").fill("0")
    assert "background" in find(page, threshold=None, background="snow, sand")


def test_a_click_counts_while_an_earlier_answer_is_awaited(visit, monkeypatch):
    """Leaving the threshold asks, too: who goes on to another field and clicks must not be left with that answer."""
    clicked = Event()

    def answer_late(*asked):
        assert clicked.wait(MINUTE / 1000)
        return answer(*asked)

    page = visit()
    monkeypatch.setattr("hclip_mmseg.demo.page.answer", answer_late)
    with page.expect_request(lambda request: "queue/join" in request.url):
        page.locator("#threshold input[type=number]").fill("0.3")
        page.locator("#names textarea").fill(NAMES)
    page.locator("#background textarea, #background input").first.press_sequentially("snow, sand")
    with page.expect_request(lambda request: "snow, sand" in (request.post_data or "")):
        page.locator("#find").click()
    clicked.set()
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query).get("background") == ["snow, sand"], timeout=MINUTE)
    assert parse_qs(urlsplit(page.url).query)["names"] == [NAMES]


def test_a_click_during_an_upload_asks_about_what_is_uploaded(visit, tmp_path):
    page, file = visit(), tmp_path / "mine.png"
    page.locator("#names textarea").fill(NAMES)
    find(page, names=NAMES, example="scene_1")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(file)
    asked, held = [], []
    page.on("request", lambda request: asked.append(request.url) if "queue/join" in request.url else None)
    page.route("**/upload?**", lambda route: held.append(route))
    page.locator("#image button[aria-label='Clear'], #image button[aria-label='Remove Image']").first.click()
    with page.expect_request("**/upload?**"):
        page.locator("#image input[type=file]").first.set_input_files(file)
    page.locator("#find").click()
    page.wait_for_timeout(500)
    assert not asked and page.locator("[data-testid=toast-body]").count() == 0
    held[0].continue_()
    page.wait_for_url(lambda url: "example" not in parse_qs(urlsplit(url).query), timeout=MINUTE)
    assert len(asked) == 1 and titles(page)


def test_a_broken_file_is_said_in_the_page_and_the_page_goes_on(visit, tmp_path):
    broken, whole = tmp_path / "holiday.png", tmp_path / "whole.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"no image" * 9)
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(whole)
    page = visit()
    drop(page, broken)
    page.locator("#find").click()
    message = page.locator(".toast-body, [data-testid=toast-body]").first
    message.wait_for()
    assert "holiday.png is" in message.inner_text() and "/" not in message.inner_text()
    page.locator("#names textarea").fill(NAMES)
    drop(page, whole)
    assert find(page, names=NAMES, example=None)


def test_two_visitors_at_once_get_their_own_names(visit):
    first, second = visit(), visit()
    for page, names in ((first, "grass, water"), (second, "snow, sand")):
        page.locator("#names textarea").fill(names)
    for page in (first, second):
        page.locator("#find").click()
    assert set(titles(first)) <= {"grass", "water"} and set(titles(second)) <= {"snow", "sand"}


def test_an_address_brings_the_state_back(visit):
    query = "?model=naclip_tiny_scenes&names=grass%2C+snow&background=water&threshold=0.1&compare=1&example=scene_2"
    page = visit(query)
    found = titles(page)
    assert set(found) <= {"grass", "snow", "background"}
    titles(page, "#frozen")
    link = page.locator("#link textarea, #link input").first
    playwright.expect(link).not_to_have_value("", timeout=MINUTE)
    assert parse_qs(urlsplit(link.input_value()).query) == parse_qs(query[1:]) == parse_qs(urlsplit(page.url).query)
    other = visit("?" + urlsplit(page.url).query)
    assert titles(other) == found


def test_a_port_that_is_taken_is_said_in_one_line(address):
    with (
        pytest.raises(ValueError, match=r"port \d+: is it taken\? Give another by --port"),
        serving(offered_models(()), port=urlsplit(address).port, device="cpu"),
    ):
        pass


@pytest.mark.parametrize("port", [-1, 0, 99_999])
def test_a_port_that_there_is_none_of_is_said_before_a_model_is_opened(port):
    with (
        pytest.raises(ValueError, match=f"^--port is a number from 1 to 65535, not {port}$"),
        serving([], port=port, device="cpu"),
    ):
        pass


def test_label_map_and_json_are_downloaded(visit, tmp_path):
    page = visit(f"?names={NAMES}&example=scene_1")
    found = titles(page)
    for place, link in enumerate(page.locator("#files a[download]").all()):
        with page.expect_download() as started:
            link.click()
        started.value.save_as(tmp_path / f"{place}_{started.value.suggested_filename}")
    (described,) = tmp_path.glob("*.json")
    classes = json.loads(Path(described).read_text())["classes"]
    assert {each["name"]: f"{each['share']:.1%}" for each in classes} == found
    (labels,) = tmp_path.glob("*_labels.png")
    counts = np.bincount(np.asarray(Image.open(labels)).ravel(), minlength=3)
    assert [counts[each["index"]] for each in classes] == [round(each["share"] * 192 * 192) for each in classes]
