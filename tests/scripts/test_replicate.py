"""What `scripts/replicate.py cnr_iemn` looks at before it makes the first phantom."""

import importlib
from pathlib import Path

import pytest

from preprocessing.errors import InputError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


class Prepared(Exception):
    """Raised where reading would begin."""


@pytest.fixture
def replicate(monkeypatch, tmp_path):
    """A function from arguments to the configuration that comes of them, and what was made."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("replicate")
    made, configs = {}, []

    def write_cohort(folder, **settings):
        made[folder.name] = settings

    def prepare_all(config, say):
        configs.append(config)
        raise Prepared

    monkeypatch.setattr("cnr_iemn.phantom.write_cohort", write_cohort)
    monkeypatch.setattr("cnr_iemn.data.prepare_all", prepare_all)

    def of(**arguments):
        with pytest.raises(Prepared):
            module.replicate_cnr_iemn(module.Arguments(out=tmp_path, size="smoke", **arguments))
        return configs[-1]

    of.made, of.module = made, module
    return of


def test_phantoms_are_made_of_the_size_and_read_as_the_config_says(replicate, tmp_path):
    config = replicate()
    assert config.data == tmp_path / "smoke" / "phantoms-cnr_iemn"
    assert [folder.name for folder in config.test] == ["phantoms-cnr_iemn-test-1"]
    assert list(replicate.made) == ["phantoms-cnr_iemn", "phantoms-cnr_iemn-test-1"]
    assert replicate.made["phantoms-cnr_iemn-test-1"]["seed"] == 1
    assert config.width == 0.25 and config.weights == "random"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"seeds": 0}, "--seeds is 0"), ({"test": (Path("nowhere"),)}, "nowhere: is not a folder")],
)
def test_what_cannot_run_is_told_before_phantoms_are_made(replicate, tmp_path, arguments, match):
    arguments = replicate.module.Arguments(out=tmp_path, size="smoke", **arguments)
    with pytest.raises(InputError, match=match):
        replicate.module.replicate_cnr_iemn(arguments)
    assert not replicate.made


def test_pretrained_weights_take_networks_of_full_width(replicate, capsys):
    config = replicate(weights="imagenet", network=("densenet161",))
    assert config.width == 1 and config.weights == "imagenet"
    assert capsys.readouterr().out.startswith("--weights imagenet: width 1, not 0.25, since")
    assert replicate(weights="random").width == 0.25 and not capsys.readouterr().out


def test_the_page_comes_last_and_the_margin_reaches_the_study(replicate, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setitem(replicate.module.STUDIES, "vbreathnet", (asked.append, ("model",)))
    report = importlib.import_module("report")
    monkeypatch.setattr(report, "make_report", lambda out: asked.append(out))
    arguments = ["vbreathnet", "--size", "smoke", "--out", str(tmp_path), "--margin", "0.05"]
    monkeypatch.setattr("sys.argv", ["replicate.py", *arguments])
    replicate.module.main()
    study, out = asked
    assert out == (tmp_path / "smoke",)
    assert replicate.module.given(study, "vbreathnet")["margin"] == 0.05
    assert replicate(margin=0.04).margin == 0.04


def test_jobs_and_cluster_reach_the_study_and_else_its_size_decides(replicate):
    assert replicate().jobs == 2 and replicate().cluster is None
    config = replicate(jobs=3, cluster="tcp://127.0.0.1:8786")
    assert config.jobs == 3 and config.cluster == "tcp://127.0.0.1:8786"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["kolarik2023", "--network", "densenet161"], "--network: .* cnr_iemn, not of kolarik2023"),
        (["vbreathnet", "--test", "DIR"], "--test: is an option of cnr_iemn, not of vbreathnet"),
        (["cnr_iemn", "--scaling", "unit"], "--scaling: .* of kolarik2023 and vbreathnet, not"),
        (["dzhulai2024", "--weights", "random"], "--weights: .* of vbreathnet and cnr_iemn, not"),
    ],
)
def test_an_option_that_the_paper_has_no_use_for_is_refused(
    replicate, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.setattr("sys.argv", ["replicate.py", *arguments, "--out", str(tmp_path / "out")])
    with pytest.raises(InputError, match=message):
        replicate.module.main()
    assert not (tmp_path / "out").exists()
