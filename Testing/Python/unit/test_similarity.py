"""The costs that images are compared by: what they are, their derivatives, masks, and wrong patches, on images of a few pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from XVRegistrationLib.registration.similarity import Similarity, normal_equations, patch_equations, sobel

SIZE = (40, 46)
PARAMETERS = 4
KINDS = {
    "whole": Similarity((0,)),
    "patches": Similarity((0, 12)),
    "robust": Similarity((12,), robust=0.3),
    "gradients": Similarity((0, 12), image=False),
    "highpass": Similarity((0, 12), highpass_px=3.0),
}


def smooth(rng: np.random.Generator, count: int) -> torch.Tensor:
    """Images (count, H, W), float64, of soft blobs."""
    from scipy.ndimage import gaussian_filter

    blobs = gaussian_filter(rng.normal(size=(count, *SIZE)), (0, 3, 3))
    return torch.from_numpy(blobs / blobs.std(axis=(1, 2), keepdims=True))


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A render (1, H, W), its derivatives (1, P, H, W), and an X-ray (H, W) that is like it."""
    rng = np.random.default_rng(0)
    image, *jacobian, other = smooth(rng, PARAMETERS + 2)
    return image[None] + 3, torch.stack(jacobian)[None], 2 * image + 0.7 * other + 1


@pytest.fixture
def mask() -> torch.Tensor:
    """(H, W) float64 that leaves out a corner, a bar, and a pixel."""
    weight = torch.ones(SIZE, dtype=torch.float64)
    weight[:11, :17] = 0
    weight[25:28] = 0
    weight[33, 40] = 0
    return weight


def moved(images: torch.Tensor, jacobians: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    return images + torch.einsum("p,bphw->bhw", by, jacobians)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_is_the_costs_derivative(images, mask, kind, masked):
    image, jacobian, xray = images
    similarity, weight = KINDS[kind], mask if masked else None
    if similarity.robust:
        xray = torch.where(torch.arange(SIZE[1]) < 15, -xray, xray)  # some patches are far from alike

    def cost(by: torch.Tensor) -> float:
        return float(normal_equations(moved(image, jacobian, by), jacobian, xray, similarity, weight).cost)

    analytic = normal_equations(image, jacobian, xray, similarity, weight).gradient[0]
    step = 1e-5 * torch.eye(PARAMETERS, dtype=torch.float64)
    numeric = [(cost(s) - cost(-s)) / 2e-5 for s in step]
    # The floor under a patch's energy, 1e-4 of the mean one, is taken as fixed.
    np.testing.assert_allclose(analytic, numeric, atol=2e-3 * float(analytic.abs().max()))


@pytest.mark.parametrize("kind", ["whole", "patches", "highpass"])
def test_near_the_optimum_the_hessian_is_the_costs_second_derivative(images, kind):
    image, jacobian, _ = images
    similarity = KINDS[kind]
    h = 1e-4

    def gradient(by: torch.Tensor) -> torch.Tensor:
        return normal_equations(moved(image, jacobian, by), jacobian, image[0], similarity).gradient[0]

    analytic = normal_equations(image, jacobian, image[0], similarity).hessian[0]
    eye = h * torch.eye(PARAMETERS, dtype=torch.float64)
    numeric = torch.stack([(gradient(s) - gradient(-s)) / (2 * h) for s in eye])
    np.testing.assert_allclose(analytic, numeric, atol=2e-2 * float(analytic.abs().max()))
    assert float(torch.linalg.eigvalsh(analytic).min()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_contrast_and_brightness_do_not_matter_and_an_image_is_like_itself(images, kind):
    image, jacobian, xray = images
    once = normal_equations(image, jacobian, xray, KINDS[kind])
    again = normal_equations(image, jacobian, 3 * xray - 20, KINDS[kind])
    np.testing.assert_allclose(again.cost, once.cost, atol=1e-9)
    np.testing.assert_allclose(again.gradient, once.gradient, atol=1e-9)
    own = normal_equations(image, jacobian, 3 * image[0] - 20, KINDS[kind])
    assert float(own.cost) == pytest.approx(0, abs=1e-3)
    assert float(own.cost) < 0.1 * float(once.cost)


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_under_the_mask_changes_nothing(images, mask, kind):
    image, jacobian, xray = images
    garbage = 50 * smooth(np.random.default_rng(5), 2 + PARAMETERS)
    outside = mask == 0
    dirty = (
        torch.where(outside, garbage[:1], image),
        torch.where(outside, garbage[None, 1 : 1 + PARAMETERS], jacobian),
        torch.where(outside, garbage[-1], xray),
    )
    clean = normal_equations(image, jacobian, xray, KINDS[kind], mask)
    found = normal_equations(*dirty, KINDS[kind], mask)
    np.testing.assert_allclose(found.cost, clean.cost, atol=1e-9)
    np.testing.assert_allclose(found.gradient, clean.gradient, atol=1e-9)
    np.testing.assert_allclose(found.hessian, clean.hessian, atol=1e-9)
    free = normal_equations(*dirty, KINDS[kind])
    assert abs(float(free.cost - clean.cost)) > 0.1  # without the mask it would


def test_a_mask_is_a_smaller_image(images):
    """The whole-image cost with a rectangle that counts is the cost of the rectangle."""
    image, jacobian, xray = images
    weight = torch.zeros(SIZE, dtype=torch.float64)
    weight[5:31, 8:40] = 1
    masked = normal_equations(image, jacobian, xray, Similarity((0,)), weight)
    cut = normal_equations(image[:, 5:31, 8:40], jacobian[..., 5:31, 8:40], xray[5:31, 8:40], Similarity((0,)))
    np.testing.assert_allclose(masked.cost, cut.cost, atol=1e-9)
    np.testing.assert_allclose(masked.gradient, cut.gradient, atol=1e-9)


def test_a_weight_for_each_image_and_one_for_all_are_the_same(images, mask):
    image, jacobian, xray = images
    two, both = image.expand(2, -1, -1), jacobian.expand(2, -1, -1, -1)
    once = normal_equations(two, both, xray, KINDS["patches"], mask)
    each = normal_equations(two, both, xray, KINDS["patches"], torch.stack([mask, torch.ones_like(mask)]))
    np.testing.assert_allclose(each.cost[0], once.cost[0], atol=1e-12)
    whole = normal_equations(image, jacobian, xray, KINDS["patches"])
    np.testing.assert_allclose(each.cost[1], whole.cost[0], atol=1e-9)


def test_a_wrong_patch_has_less_influence_than_a_right_one_and_none_without_limit(images):
    """A patch of the opposite contrast: its pull on the parameters is smaller with robust weights, and its cost bounded."""
    image, jacobian, _ = images
    xray = image[0].clone()
    xray[12:24, 12:24] = 6 - xray[12:24, 12:24]
    pulls, costs = {}, {}
    for robust in (None, 0.3):
        similarity = Similarity((12,), robust=robust)
        clean = normal_equations(image, jacobian, image[0], similarity)
        wrong = normal_equations(image, jacobian, xray, similarity)
        pulls[robust] = float((wrong.gradient - clean.gradient).norm())
        costs[robust] = float(wrong.cost - clean.cost)
    assert pulls[0.3] < 0.5 * pulls[None]
    assert costs[0.3] < 0.5 * costs[None]
    parts = patch_equations(image, jacobian, -image[0], Similarity((12,), robust=0.3), 12)
    assert float(parts.cost.sum()) < 0.3


@pytest.mark.parametrize("weights", ["none", "one for all", "one each"])
def test_many_images_in_parts_are_as_each_by_itself(images, mask, weights, monkeypatch):
    image, jacobian, xray = images
    many, jacobians = (
        torch.cat([image, image + xray, 2 * image, image - xray, xray[None]]),
        jacobian.expand(5, -1, -1, -1),
    )
    weight = {
        "none": None,
        "one for all": mask,
        "one each": torch.stack([mask, mask.T.reshape(SIZE), mask, mask, mask]),
    }[weights]
    similarity = KINDS["patches"]
    whole = normal_equations(many, jacobians, xray, similarity, weight)
    monkeypatch.setattr("XVRegistrationLib.registration.similarity._TOGETHER", 2 * (PARAMETERS + 2) * image.numel())
    parts = normal_equations(many, jacobians, xray, similarity, weight)
    for name in ("cost", "gradient", "hessian"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    for n in range(5):
        own = weight if weight is None or weight.ndim == 2 else weight[n]
        alone = normal_equations(many[n : n + 1], jacobians[n : n + 1], xray, similarity, own)
        torch.testing.assert_close(parts.cost[n : n + 1], alone.cost)


def test_a_flat_xray_and_a_flat_render_are_like_nothing(images):
    image, jacobian, xray = images
    for similarity in KINDS.values():
        flat = normal_equations(image, jacobian, torch.zeros_like(xray), similarity)
        assert float(flat.cost) == pytest.approx(1, abs=1e-6)
        assert float(flat.gradient.abs().max()) < 1e-6
        dark = normal_equations(torch.zeros_like(image), 0 * jacobian, xray, similarity)
        expected = 1.0 if similarity.robust is None else 1 / (1 + 1 / similarity.robust)
        assert float(dark.cost) == pytest.approx(expected, abs=1e-6)
        assert torch.isfinite(dark.hessian).all()


def test_weighing_by_the_render_sees_nothing_of_what_lies_beside_it(images):
    image, jacobian, _ = images
    shadow = torch.zeros(SIZE, dtype=torch.float64)
    shadow[14:26, 14:26] = 1
    own, derivatives = image * shadow, jacobian * shadow
    other = own[0].clone()
    other[:, 36:] += 20 * smooth(np.random.default_rng(3), 1)[0][:, 36:]
    costs = {
        by_render: float(normal_equations(own, derivatives, other, Similarity((8,), by_render=by_render)).cost)
        for by_render in (True, False)
    }
    assert costs[True] < 0.1
    assert costs[False] > 0.5


@pytest.mark.parametrize("size", [(32, 32), (35, 43)])
def test_every_part_of_the_image_is_heard_once(size):
    """The X-ray differs from the render in one place at a time: the part that is there answers, and no other."""
    rng = np.random.default_rng(2)
    image = torch.from_numpy(rng.normal(size=(1, *size)))
    jacobian = torch.from_numpy(rng.normal(size=(1, 2, *size)))
    heard = []
    for row, column in ((5, 5), (5, 20), (20, 5), (20, 20)):
        xray = image[0].clone()
        xray[row - 1 : row + 2, column - 1 : column + 2] *= -1
        parts = patch_equations(image, jacobian, xray, Similarity((0,)), 8)
        clean = patch_equations(image, jacobian, image[0], Similarity((0,)), 8)
        change = (parts.cost - clean.cost)[0]
        share = change.clamp_min(0) / change.clamp_min(0).sum()
        heard.append(int(share.argmax()))
        assert float(share.max()) > 0.8
    assert len(set(heard)) == 4


@pytest.mark.parametrize("masked", [False, True])
def test_the_parts_pull_as_their_costs_change_and_together_as_the_whole(images, mask, masked):
    image, jacobian, xray = images
    weight = mask if masked else None

    def cost(by: torch.Tensor) -> torch.Tensor:
        return patch_equations(moved(image, jacobian, by), jacobian, xray, Similarity((8,)), 8, weight).cost[0]

    parts = patch_equations(image, jacobian, xray, Similarity((8,)), 8, weight)
    step = 1e-5 * torch.eye(PARAMETERS, dtype=torch.float64)
    numeric = torch.stack([(cost(s) - cost(-s)) / 2e-5 for s in step], dim=-1)
    np.testing.assert_allclose(parts.gradient[0], numeric, atol=5e-3 * float(numeric.abs().max()))
    whole, total = normal_equations(image, jacobian, xray, Similarity((8,)), weight), parts.total()
    assert float(total.cost) == pytest.approx(float(whole.cost), rel=0.25)
    together = torch.nn.functional.cosine_similarity(total.gradient, whole.gradient)
    assert float(together) > 0.9


def test_sobel_gives_the_slopes_of_a_plane():
    row, column = torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="ij")
    slopes = sobel((2 * column - 3 * row)[None])
    assert slopes.shape == (1, 2, 7, 5)
    np.testing.assert_allclose(slopes[0, 0], 2.0)
    np.testing.assert_allclose(slopes[0, 1], -3.0)
