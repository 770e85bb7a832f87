import json
import math
import subprocess
import sys

import numpy as np
import pytest

from rdstudy.data.loading import load_dataset
from rdstudy.data.tetrominoes import (
    EXAMPLES,
    SCALE,
    draw_factors,
    is_central,
    is_odd_box,
)
from rdstudy.data.tetrominoes_drawing import FACTORS, render

LOW = np.array([factor.low for factor in FACTORS])
HIGH = np.array([factor.high for factor in FACTORS])
BINS = np.array([factor.bins for factor in FACTORS])


@pytest.fixture(scope="module")
def factors():
    return draw_factors(0)


def sampled_one_by_one(factors: np.ndarray) -> np.ndarray:
    """Coverage, as `render` defines it: 16 x 16 bilinear samples of a picture, no shortcuts."""
    angle, _, scale, x, y = factors
    picture = np.zeros((500, 400))  # 100 pixels per unit; the piece's box begins at row 100, column 100
    picture[100:400, 200:300] = 1
    picture[300:400, 100:300] = 1
    point = np.arange(32 * 16) / 16
    across, down = point[None, :] - (x + 0.5), point[:, None] - (y + 0.5)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    column = np.clip(100 * (cosine * across - sine * down) / scale + 200, 0, 398)
    row = np.clip(100 * (sine * across + cosine * down) / scale + 250, 0, 498)
    j, i = column.astype(int), row.astype(int)
    right, low = column - j, row - i
    upper_row = (1 - right) * picture[i, j] + right * picture[i, j + 1]
    lower_row = (1 - right) * picture[i + 1, j] + right * picture[i + 1, j + 1]
    samples = (1 - low) * upper_row + low * lower_row
    return np.asarray(samples.reshape(32, 16, 32, 16).mean(axis=(1, 3)))


def test_images_agree_with_the_authors(shared):
    with np.load(shared / "data" / "tetrominoes_samples.npz") as file:
        theirs, ours = file["images"].astype(int), render(file["factors"]).astype(int)
    difference = np.abs(ours - theirs)
    assert difference.max() <= 1
    assert difference.mean() < 1e-4  # 786,432 bytes; 5.1e-5 where this was written


def test_shortcuts_draw_what_sampling_every_point_draws(factors):
    chosen = np.concatenate([factors[:20], [[0, 0, 2, 8, 8], [337.5, 0.875, 5, 23, 23], [90, 0, 5, 8, 23]]])
    chosen[:, 1] = 0  # red alone has the coverage
    ours = render(chosen)
    exact = np.array([255 * sampled_one_by_one(row) for row in chosen])
    assert np.abs(ours[..., 0] - exact).max() < 0.501
    assert not ours[..., 1:].any()


def test_a_third_of_the_colour_wheel_exchanges_the_channels(factors):
    chosen = factors[:64].copy()
    chosen[:, 1] = np.linspace(0, 0.5, 64)
    turned = chosen + np.array([0, 1 / 3, 0, 0, 0])
    difference = render(chosen)[..., [2, 0, 1]].astype(int) - render(turned)
    assert np.abs(difference).max() <= 1


def test_coverage_adds_up_to_four_unit_squares(factors):
    value = render(factors[:500]).max(axis=-1).sum(axis=(1, 2), dtype=float) / 255
    area = 4 * factors[:500, SCALE] ** 2
    inside = (np.abs(factors[:500, 3:] - 15.5) < 5).all(axis=1)  # no part of the piece leaves the image
    assert inside.sum() > 100
    assert value[inside] == pytest.approx(area[inside], rel=0.01)


def test_the_piece_lies_where_its_factors_put_it(factors):
    chosen = factors[:500]
    chosen = chosen[(np.abs(chosen[:, 3:] - 15.5) < 5).all(axis=1)]
    value = render(chosen).max(axis=-1).astype(float)
    place = np.arange(32)
    mass = value.sum(axis=(1, 2))
    x, y = (value.sum(axis=1) * place).sum(axis=1) / mass, (value.sum(axis=2) * place).sum(axis=1) / mass
    angle, quarter = (
        np.deg2rad(chosen[:, 0]),
        chosen[:, SCALE] / 4,
    )  # the centroid is a quarter unit right and down
    assert np.abs(x - chosen[:, 3] - quarter * (np.cos(angle) + np.sin(angle))).max() < 0.08
    assert np.abs(y - chosen[:, 4] - quarter * (np.cos(angle) - np.sin(angle))).max() < 0.08


def test_an_image_does_not_depend_on_its_company(factors):
    together = render(factors[:700])
    alone = np.concatenate([render(factors[i : i + 1]) for i in range(500, 540)])
    assert np.array_equal(together[500:540], alone)


@pytest.mark.parametrize(
    "wrong", [[0, 0, 1, 8, 8], [0, 0, 5.1, 8, 8], [-1, 0, 3, 8, 8], [0, 0, 3, 8, 24], [math.nan, 0, 3, 8, 8]]
)
def test_factors_out_of_range_are_refused_with_the_ranges(wrong):
    with pytest.raises(ValueError, match=r"allowed: angle 0 to 337\.5, hue 0 to 0.875, scale 2 to 5"):
        render(np.array([[0, 0, 3, 8, 8], wrong], dtype=float))


def test_each_bin_holds_one_image(factors):
    bins = np.floor((factors - LOW) / (HIGH - LOW) * BINS).astype(int)
    assert len(factors) == EXAMPLES == 163_840
    assert len(np.unique(np.ravel_multi_index(tuple(bins.T), tuple(BINS)))) == EXAMPLES


def test_factors_are_uniform_within_their_bins(factors):
    within = (factors - LOW) / (HIGH - LOW) * BINS % 1
    error = 1 / math.sqrt(12 * EXAMPLES)
    assert np.abs(within.mean(axis=0) - 0.5).max() < 4 * error
    spread = (within**2).mean(axis=0) - 1 / 3  # variance of u^2 is 4/45
    assert np.abs(spread).max() < 4 * math.sqrt(4 / 45 / EXAMPLES)
    unrelated = np.corrcoef(within, rowvar=False) - np.eye(5)
    assert np.abs(unrelated).max() < 4.5 / math.sqrt(EXAMPLES)  # ten pairs


def test_both_sides_of_the_checkerboard_and_all_its_boxes_are_equal(factors):
    upper = factors >= (LOW + HIGH) / 2
    assert np.unique(upper @ (1 << np.arange(5)), return_counts=True)[1].tolist() == [EXAMPLES // 32] * 32
    assert is_odd_box(factors).sum() == EXAMPLES // 2 == 81_920
    assert np.array_equal(is_odd_box(factors), upper.sum(axis=1) % 2 == 1)


@pytest.mark.parametrize("size", [2, 3, 31, 32, 33, 1000, 4097])
def test_a_smaller_data_set_is_balanced_and_begins_a_larger_one(factors, size):
    small = draw_factors(0, size)
    assert np.array_equal(small, factors[:size])
    assert abs(int(is_odd_box(small).sum()) - size / 2) <= 0.5
    boxes = np.bincount((small >= (LOW + HIGH) / 2) @ (1 << np.arange(5)), minlength=32)
    assert boxes.max() - boxes.min() <= 1


def test_a_smaller_data_set_takes_bins_from_everywhere():
    small = draw_factors(1, 8192)
    share = (small - LOW) / (HIGH - LOW)
    assert np.abs(share.mean(axis=0) - 0.5).max() < 4 / math.sqrt(12 * 8192)
    hue = np.bincount(np.floor(share[:, 1] * 8).astype(int))
    assert np.abs(hue - 1024).max() < 4 * math.sqrt(1024)


@pytest.mark.parametrize("size", [-1, 0, 1, 163_841])
def test_an_impossible_size_is_refused_with_what_is_possible(size):
    with pytest.raises(ValueError, match=rf"size {size}: there are 163840 images; allowed: 2 to 163840"):
        draw_factors(0, size)


def test_the_seed_determines_the_factors():
    assert np.array_equal(draw_factors(7, 100), draw_factors(7, 100))
    assert not np.isin(draw_factors(7, 100), draw_factors(8, 100)).any()
    with pytest.raises(ValueError, match="seed is -1"):
        draw_factors(-1)


@pytest.mark.parametrize("ratio", [0.9, 0.5, 0.1])
def test_the_central_box_holds_its_share_of_the_images(factors, ratio):
    central = is_central(factors, ratio)
    error = math.sqrt(ratio * (1 - ratio) / EXAMPLES)  # of independent draws; stratified ones are closer
    assert abs(central.mean() - ratio) < 4 * error
    reach = np.abs(factors[central] - (LOW + HIGH) / 2).max(axis=0) / (HIGH - LOW) * 2
    assert reach == pytest.approx(ratio**0.2, abs=2e-3)


def test_no_distortion_below_49_nats_is_possible(factors):
    p = np.arange(1, 255) / 255
    entropy = np.concatenate([[0], -(p * np.log(p) + (1 - p) * np.log1p(-p)), [0]])  # of a pixel, by its byte
    floor = entropy[render(factors[:4096]).reshape(4096, -1)].sum(axis=1)
    error = floor.std() / math.sqrt(4096)
    assert error < 0.35
    assert abs(floor.mean() - 49.46) < 3 * error  # all 163,840 images: 49.46, standard error 0.05
    assert abs(floor.mean() - 50.9) < 3 * math.hypot(error, 1.3)  # measured on the authors' images


def test_a_prediction_that_is_the_same_for_all_images_costs_302_nats(factors):
    intensity = (render(factors[:8192]).reshape(8192, -1) / np.float32(255)).astype(np.float32)
    mean = np.clip(intensity[:4096].mean(axis=0), 1e-4, None)
    cost = -(intensity[4096:] @ np.log(mean / (1 - mean)) + np.log1p(-mean).sum())
    error = cost.std() / math.sqrt(4096)
    assert error < 2.5
    assert abs(cost.mean() - 302.2) < 3 * error  # all images, by their own mean: 302.2


def test_the_same_seed_gives_the_same_bytes_everywhere():
    dataset = load_dataset("tetrominoes", seed=0, size=256)
    assert dataset.fingerprint == "571cf79e95586b26990441e7579c5aad375ee528b0de5cb197ab1f9e2f2d323d"
    assert dataset.images.shape == (256, 32 * 32 * 3)
    assert dataset.shape == (32, 32, 3)
    assert dataset.labels is None
    assert dataset.standard_train is None
    assert dataset.factors is not None
    assert np.array_equal(dataset.images.reshape(256, 32, 32, 3), render(np.array(dataset.factors)))


def test_seeds_and_sizes_do_not_share_cached_images():
    for seed, size in ((0, 8), (0, 9), (1, 8), (0, 8)):
        dataset = load_dataset("tetrominoes", seed=seed, size=size)
        assert np.array_equal(dataset.images, render(draw_factors(seed, size)).reshape(size, -1))


@pytest.mark.slow
def test_all_images_are_made_in_bounded_memory_and_read_back(tmp_path):
    # ru_maxrss would also count the memory of the process that starts this one.
    code = r"""
import json, re, sys
from pathlib import Path
from rdstudy.data.loading import load_dataset
made = load_dataset("tetrominoes", cache=sys.argv[1])
[kib] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
read = load_dataset("tetrominoes", cache=sys.argv[1])
print(json.dumps([made.fingerprint, read.fingerprint, read.n_examples, int(kib) * 1024]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, check=True)
    made, read, n_examples, peak = json.loads(done.stdout)
    assert made == read == "80a684918edbc1deb913054557a8ebf020e21d18319ef03da52faeffb2c70150"
    assert n_examples == 163_840
    assert peak < 1.5 * 2**30
