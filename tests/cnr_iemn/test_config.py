"""Values that no run can have, and what the defaults of the paper come to."""

import dataclasses

import pytest

from cnr_iemn.config import NETWORKS, PAPER_ROWS, PAPER_TABLES, SCENARIOS
from cnr_iemn.sizes import SIZES
from preprocessing.errors import InputError


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"folds": 1}, "--folds is 1; it has to be 0, or 2 and more"),
        ({"folds": -2}, "--folds is -2"),
        ({"rise_masks": 127}, "--rise-masks is 127; it has to be 128 or more"),
        ({"crop": 0.0}, "--crop is 0.0"),
        ({"crop": 1.1}, "--crop is 1.1; it has to be more than 0, 1 at most"),
        ({"width": 0.0}, "--width is 0.0"),
        ({"width": 2.0}, "--width is 2.0"),
        ({"width": 0.5, "weights": "imagenet"}, "--width is 0.5; .* --weights random"),
        ({"width": 0.5, "weights": "w.safetensors"}, "--width is 0.5"),
        ({"width": 0.3}, "--width is 0.3; it has to be a multiple of 1/16"),
        (
            {"width": 0.25 / 16},
            "--width is 0.015625; it has to be a multiple of 1/16, .* densenet161",
        ),
        ({"width": 1 / 48, "network": ("resnext50_32x4d",)}, "multiple of 1/32, .* resnext50"),
        ({"perspective": 1.0}, "--perspective is 1.0"),
        ({"perspective": -0.1}, "--perspective is -0.1"),
        ({"jitter": 1.5}, "--jitter is 1.5"),
        ({"flip_chance": -0.1}, "--flip-chance is -0.1; it has to be 0 to 1"),
        ({"val_fraction": 0.0}, "--val-fraction is 0.0"),
        ({"val_fraction": 1.0}, "--val-fraction is 1.0"),
        ({"window_low": 500.0}, "--window-high is 400.0; it has to be more than --window-low 500"),
        ({"window_low": float("nan")}, "--window-low is nan; it has to be a finite number"),
        ({"window_high": float("inf")}, "--window-high is inf"),
        ({"rotation": float("nan")}, "--rotation is nan"),
        ({"focal_gamma": float("inf")}, "--focal-gamma is inf"),
        ({"regions": 1}, "--regions is 1"),
        ({"groups": 0}, "--groups is 0"),
        ({"jobs": 0}, "--jobs is 0"),
        ({"seeds": 0}, "--seeds is 0; it has to be more than zero"),
        ({"normal_scans": 0}, "--normal-scans is 0"),
        ({"cap_copies": -1}, "--cap-copies is -1; it has to be 0 or more"),
        ({"rise_slices": -1}, "--rise-slices is -1"),
        ({"network": ()}, "--network is .*; it has to be at least one"),
        ({"scenario": ()}, "--scenario is"),
        ({"input_size": 31}, "--input-size is 31"),
        ({"store_size": 31}, "--input-size .*--store-size too"),
        ({"network": ("inception_v3",), "inception_size": 74}, "--inception-size is 74"),
        ({"input_size": 49}, "--input-size is 49; it has to be at most --store-size 48"),
        ({"network": ("inception_v3",)}, "--inception-size is 299; .* --store-size 48"),
    ],
)
def test_values_that_no_run_can_have_are_refused_by_their_flag(small_config, settings, flag):
    with pytest.raises(InputError, match=flag) as error:
        dataclasses.replace(small_config, **settings)
    assert "\n" not in str(error.value)


def test_what_is_left_out_may_be_nothing(small_config):
    config = dataclasses.replace(
        small_config, folds=0, rise_slices=0, covid_copies=0, cap_copies=0, jitter=0.0, crop=1.0,
        perspective=0.0, width=0.25, inception_size=32,
    )  # fmt: skip
    assert config.folds == 0  # and inception_size is of no network that is asked for


def test_widths_that_leave_whole_channels_are_those_of_the_network(small_config):
    for network, width in (("densenet161", 1 / 48), ("densenet161", 0.3333333333),
                           ("resnext50_32x4d", 1 / 32), ("wide_resnet50_2", 63 / 64)):  # fmt: skip
        config = dataclasses.replace(small_config, network=(network,), width=width)
        assert config.width == width


def test_inception_has_a_size_of_its_own(small_config):
    sizes = {name: small_config.size_of(name) for name in NETWORKS}
    assert sizes == dict.fromkeys(NETWORKS, 32) | {"inception_v3": 299}


def test_every_network_and_scenario_is_one_of_the_paper():
    assert set(PAPER_ROWS) == set(NETWORKS) and set(PAPER_TABLES) == set(SCENARIOS)
    assert [PAPER_TABLES[s][0] for s in SCENARIOS] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("name", SIZES)
def test_every_size_is_a_study_that_can_run(small_config, name):
    default = type(small_config)(small_config.data, small_config.out)
    config = dataclasses.replace(default, **SIZES[name].settings)
    assert (config == default) == (name == "paper")
    for network in NETWORKS:  # replicate.py's --network takes any
        alone = dataclasses.replace(config, network=(network,))
        assert alone.size_of(network) <= alone.store_size
