"""The page: everything escaped, nothing from elsewhere, and no complaint from a browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from preprocessing.errors import InputError
from replication.claims import HOLDS, ClaimVerdict
from replication.experiments import load_experiments
from replication.judgement import Judgement
from replication.records import write_csv, write_json
from replication.report import write_report
from replication.report_pictures import Album, caption_of, draw_performance
from replication.verdict import judge_runs

PLANTED = "<script>alert('planted')</script>"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replication.metrics.RESAMPLES", 100)
        yield


@pytest.fixture(scope="module")
def judgement(tmp_path_factory, binary_run):
    """A paper with a planted script in every name that comes from data."""
    tmp_path = tmp_path_factory.mktemp("out")
    rng = np.random.default_rng(0)
    answers = [(i % 2, float(np.clip(0.5 + 0.3 * (i % 2 - 0.5) + rng.normal(0, 0.3), 0, 1)))
               for i in range(60)]  # fmt: skip
    folders = [
        binary_run(tmp_path, "resnet3d_18-2_30x30", answers, seed=seed,
                   patients=[f"{PLANTED}{i}" for i in range(60)], region=PLANTED,
                   metrics={"not_comparable": [PLANTED], "leaky": True})
        for seed in range(2)
    ]  # fmt: skip
    figures = folders[0] / "figures"
    figures.mkdir()
    cv2.imwrite(str(figures / "saliency_present.png"), rng.integers(0, 255, (40, 60, 3), np.uint8))
    cv2.imwrite(str(figures / "confusion-test.png"), np.zeros((9, 9, 3), np.uint8))
    write_json(folders[0] / "environment.json", {"cpu": PLANTED, "packages": {"keras": "3"}})
    (tmp_path / "figures").mkdir()
    cv2.imwrite(str(tmp_path / "figures" / "mmode_present.png"), np.zeros((10, 10, 3), np.uint8))
    store = tmp_path / "stores" / "2_30x30"
    store.mkdir(parents=True)
    write_json(store / "recipe.json", {"study": "kolarik2023", "parameters": {"region": "marked"}})
    write_csv(store / "index.csv", [{"sample_id": i, "patient_id": f"p{i}", "class": PLANTED,
                                     "origin": "phantom"} for i in range(3)])  # fmt: skip
    write_csv(store / "sources.csv", [{"file": "a", "reason": ""}, {"file": "b", "reason": "x"}])
    experiments = load_experiments(folders)
    claim = ClaimVerdict(PLANTED, "section 4", PLANTED, HOLDS, "+0.1", (PLANTED,))
    verdicts = judge_runs("kolarik2023", experiments)
    return Judgement("kolarik2023", tuple(experiments), tuple(verdicts), (claim,), (claim,),
                     (PLANTED,))  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory, judgement):
    path = tmp_path_factory.mktemp("page") / "page.html"
    return write_report(path, [judgement], [PLANTED], PLANTED)


class Reader(HTMLParser):
    """What a page consists of: tags, addresses that would be fetched, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.open, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href", "srcset", "data")]
        assert not any(name.startswith("on") for name, _ in attributes)  # no handler of an event
        if tag not in ("meta", "img", "br", "wbr", "line", "rect", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_names_from_data_are_escaped_and_nothing_is_fetched(page):
    text = page.read_text(encoding="utf-8")
    read = Reader(text)
    assert read.open == [] and "script" not in read.tags and PLANTED not in text
    # Patient, setting, reason, class, claim, note, command, processor: all are there, as text.
    assert "".join(read.text).replace("\n", "").count("alert('planted')") > 15
    assert all(a.startswith(("data:image/", "#")) for a in read.addresses)
    assert "default-src 'none'" in text and "http://" not in text and "https://" not in text
    assert "url(" not in text and "@import" not in text


def test_the_page_has_every_part(page, judgement):
    read = Reader(page.read_text(encoding="utf-8"))
    text = " ".join(" ".join(read.text).split())
    parts = (
        "Experiments", "Printed numbers beside ours", "Claims of order", "Claims of architecture",
        "Each experiment", "Most surely wrong", "Configuration", "Data", "Environment",
        "What the printed numbers reveal", "findings of the audit",
    )  # fmt: skip
    for part in parts:
        assert part in text, part
    assert text.count("LEAKY") >= len(judgement.verdicts)
    assert "none of 8 rows" in text
    assert "2 seeds" in text and "1 of 2" in text and "272/386" in text
    captions = [t for t in read.text if ".png" in t]
    assert any("saliency_present.png" in t for t in captions)
    assert any("performance-kolarik2023" in t for t in captions)
    assert any("mmode_present.png" in t for t in captions)
    assert not any("confusion-test.png" in t for t in captions)  # it is in the performance picture
    out = judgement.experiments[0].folders[0].parents[3]
    assert len(list((out / "figures" / "report").glob("performance-*.png"))) == 1
    assert read.tags.count("svg") == len(judgement.verdicts)


def test_a_page_without_runs_has_architecture_and_audit(tmp_path):
    claim = ClaimVerdict("parameters", "section 3", "V-BreathNet", HOLDS, "792,291")
    judgement = Judgement("vbreathnet", (), (), (), (claim,))
    text = write_report(tmp_path / "page.html", [judgement]).read_text(encoding="utf-8")
    assert "792,291" in text and "findings of the audit" in text


def test_the_summary_counts_leaky_numbers_apart(tmp_path, binary_run, monkeypatch):
    monkeypatch.setattr("replication.report.audit_paper", lambda paper: [])
    # Kolárik's first line: TP 158, FN 106, TN 114, FP 8.
    line = [(1, 1.0)] * 158 + [(1, 0.0)] * 106 + [(0, 0.0)] * 114 + [(0, 1.0)] * 8
    wrong = [(label, 1 - score) for label, score in line]
    folders = [binary_run(tmp_path, "sound", wrong),
               binary_run(tmp_path, "leaky", line, metrics={"leaky": True})]  # fmt: skip
    experiments = load_experiments(folders)
    verdicts = judge_runs("kolarik2023", experiments, 0.1)
    judgement = Judgement("kolarik2023", tuple(experiments), tuple(verdicts), (), ())
    path = write_report(tmp_path / "page.html", [judgement])
    text = " ".join("".join(Reader(path.read_text(encoding="utf-8")).text).split())
    assert "4 distinct, 4 LEAKY of 16 rows" in text
    assert "4 lower LEAKY: 4 agrees" in text
    assert "LEAKY: how far the margin decides" in text
    assert text.count("By chance alone about 0.2 of the 4 whose printed k of n is known") == 2
    assert "at most" not in text and "takes tiles, clips, slices and films as independent" in text


def test_a_picture_of_other_seeds_is_another_picture(tmp_path, binary_run):
    answers = [(1, 0.9), (0, 0.2), (1, 0.4), (0, 0.6)]
    folders = [binary_run(tmp_path, "e", answers, seed=seed) for seed in range(3)]
    (one,), (all_three,) = load_experiments(folders[:1]), load_experiments(folders)
    first = draw_performance(one, "test")
    drawn = first.read_bytes()
    second = draw_performance(all_three, "test")
    assert (first.name, second.name) == (
        "performance-kolarik2023-e-test-seed0.png", "performance-kolarik2023-e-test-seed0_1_2.png",
    )  # fmt: skip
    assert second.read_bytes() != drawn == draw_performance(one, "test").read_bytes()


def test_large_pictures_shrink_and_what_does_not_fit_is_told(tmp_path):
    large, small = tmp_path / "large.png", tmp_path / "small.png"
    cv2.imwrite(str(large), np.random.default_rng(0).integers(0, 255, (900, 2400, 3), np.uint8))
    cv2.imwrite(str(small), np.zeros((20, 30, 3), np.uint8))
    album = Album(most_bytes=2_000_000)
    shrunk, kept = album.embed([large, small])
    assert (shrunk.width, shrunk.height) == (1200, 450) and shrunk.uri.startswith("data:image/webp")
    assert (kept.width, kept.height) == (30, 20) and kept.uri.startswith("data:image/png")
    assert len(shrunk.uri) < large.stat().st_size / 3
    assert album.embed([large] * 9) != [] and album.left_out[-1] == large
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    with pytest.raises(InputError, match="damaged.png: is no picture"):
        album.embed([damaged])


def test_a_page_says_which_pictures_it_leaves_out(tmp_path, judgement, monkeypatch):
    monkeypatch.setattr("replication.report.Album", lambda: Album(most_bytes=10))
    monkeypatch.setattr("replication.report.audit_paper", lambda paper: [])
    text = write_report(tmp_path / "page.html", [judgement]).read_text(encoding="utf-8")
    assert "pictures were left out" in text and "saliency_present.png" in text
    assert "<img" not in text


def test_captions_say_what_a_picture_shows(tmp_path):
    assert caption_of(tmp_path / "curves.png") == "training curves (curves.png)"
    assert caption_of(tmp_path / "other.png") == "other.png"


def render(page: Path, picture: Path, width: int) -> list[str]:
    """What Chromium's console says of a page, drawn into a picture."""
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
         "--log-level=0", f"--user-data-dir={picture.parent / 'profile'}",
         f"--window-size={width},2000", f"--screenshot={picture}", page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if re.search(r"CONSOLE[:(]", line)]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_chromium_renders_the_page_at_two_widths_without_a_console_error(page, tmp_path):
    for width in (400, 1280):
        picture = tmp_path / f"{width}.png"
        assert render(page, picture, width) == []
        image = cv2.imread(str(picture))
        assert image.std() > 5 and len(np.unique(image.reshape(-1, 3), axis=0)) > 50
    # The page's own policy forbids a script, and the console would tell.
    spoiled = tmp_path / "spoiled.html"
    text = page.read_text(encoding="utf-8").replace("</main>", "<script>x()</script></main>")
    spoiled.write_text(text, encoding="utf-8")
    assert render(spoiled, tmp_path / "spoiled.png", 400)
