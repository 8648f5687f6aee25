"""X-rays to learn from: objects in the beam, ways to show an image, pools of which a part is replaced, and batches made ahead."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
import torch

from XVRegistrationLib.evaluation.patients import cut_off
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.training import randomize
from XVRegistrationLib.training.beam_objects import NO_OBJECTS, ObjectPool, ObjectShares, beam_objects
from XVRegistrationLib.training.prefetch import TOGETHER, Prefetched
from XVRegistrationLib.training.presentation import AS_IS, ShownShares, local_contrast, openings, presented
from XVRegistrationLib.training.randomize import draw_appearance, randomized, shown_by
from XVRegistrationLib.training.task import Task, dense_points
from XVRegistrationLib.training.trainer import TrainingSettings
from XVRegistrationLib.training.xray_sources import Batch, Pool, Randomization, Stream, batches_of

SIZE, SPACING = (60, 48), (4.0, 4.0)
KINDS = [field.name for field in dataclasses.fields(ObjectShares)]


def only(kind: str, share: float = 1.0) -> ObjectShares:
    return dataclasses.replace(NO_OBJECTS, **{kind: share})


@pytest.mark.parametrize("kind", KINDS)
def test_objects_add_attenuation_to_their_share_of_the_images(kind):
    drawn = beam_objects(200, SIZE, SPACING, only(kind, 0.5), torch.Generator().manual_seed(1))
    assert drawn.shape == (200, 48, 60)
    assert torch.isfinite(drawn).all()
    assert float(drawn.min()) >= 0
    shown = drawn.amax(dim=(1, 2)) > 1e-3
    assert 0.35 < float(shown.float().mean()) < 0.65
    again = beam_objects(200, SIZE, SPACING, only(kind, 0.5), torch.Generator().manual_seed(1))
    assert torch.equal(drawn, again)
    # No two are alike, and no object leaves nothing of the patient to be seen.
    flat = drawn[shown].flatten(1)
    assert len(torch.unique(flat.sum(dim=1))) == len(flat)
    assert float((flat < 0.4).float().mean(dim=1).median()) > 0.4


def test_a_wire_casts_the_same_shadow_into_coarse_and_fine_images():
    """The sum over the image is the wire's, whatever the pixels: a thin thing is not lost between them."""
    sums = []
    for scale in (1, 4):
        drawn = beam_objects(
            16, (64 * scale, 64 * scale), (4.0 / scale,) * 2, only("wires"), torch.Generator().manual_seed(2)
        )
        sums.append(drawn.sum(dim=(1, 2)) * (4.0 / scale) ** 2)
    torch.testing.assert_close(sums[0], sums[1], rtol=0.25, atol=5.0)
    assert float((sums[0] - sums[1]).abs().median() / sums[1].median()) < 0.05


def test_a_pool_of_objects_shows_as_many_as_the_difficulty_says_and_is_renewed():
    pool = ObjectPool(SIZE, SPACING, only("collimator"), torch.Generator().manual_seed(3), lots=32, renewed=32)
    first = pool._lots.clone()
    assert not pool.objects(50, 0.0).any()
    half = pool.objects(600, 0.5).amax(dim=(1, 2)) > 0
    assert 0.42 < float(half.float().mean()) < 0.58
    assert not torch.equal(first, pool._lots)


def test_local_contrast_evens_out_a_slope_and_inversion_turns_around():
    x = torch.linspace(0, 1, 64)
    fine = 0.02 * torch.sin(torch.arange(64) * 1.5)
    image = (10 * x[:, None] + fine[None, :]).expand(2, 64, 64)
    evened = local_contrast(image, torch.tensor([0.0, 1.0])[:, None, None])
    torch.testing.assert_close(evened[0], image[0])
    slope = evened[1].mean(dim=1)
    assert float(slope[8:-8].std()) < 0.2 * float(image[1].mean(dim=1)[8:-8].std())
    g = torch.Generator().manual_seed(1)
    turned = presented(image, ShownShares(0.0, 1.0, 0.0), g)
    torch.testing.assert_close(turned + image, (image.amax() + image.amin()).expand_as(image))
    assert torch.equal(presented(image, AS_IS, g), image)


def test_an_opening_is_shown_as_a_registration_shows_it_to_the_network():
    """What lies outside is as bright as what lies inside is on average, and what lies inside is as it was."""
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(64, 48, 60, generator=generator)
    shown = presented(images, ShownShares(0.0, 0.0, 1.0), torch.Generator().manual_seed(5))
    g = torch.Generator().manual_seed(5)
    torch.rand(64, generator=g)
    open_ = openings(64, (60, 48), g)
    share = open_.mean(dim=(1, 2))
    assert 0.05 < float(share.min()) < 0.25
    assert 0.6 < float(share.max()) <= 1
    for image, one, mask in zip(images, shown, open_.bool(), strict=True):
        torch.testing.assert_close(one[mask], image[mask])
        torch.testing.assert_close(one[~mask], image[mask].mean().expand(int((~mask).sum())))


@pytest.mark.parametrize(("block", "bound"), [(0.01, 1e-5), (randomize.BLOCK, 0.008)])
def test_the_kernel_shows_what_torch_says(block, bound, monkeypatch):
    """Whatever the size; the same but for rounding where scatter is made from single pixels, and by its mean square with blocks."""
    monkeypatch.setattr(randomize, "BLOCK", block)
    x, y = torch.meshgrid(torch.linspace(-1, 1, 50), torch.linspace(-1, 1, 37), indexing="xy")
    body = 5 * (1 - x**2 - 0.7 * y**2).clamp_min(0).sqrt() + 2 * torch.sigmoid(40 * (x * y - 0.1))
    images = body * torch.linspace(0.1, 1.2, 24)[:, None, None]
    images[0] = 0.0
    generators = [torch.Generator().manual_seed(4) for _ in range(2)]
    found = randomized(images, (6.0, 9.0), generators[0])
    appearance = draw_appearance(images, generators[1])
    expected = shown_by(images, (6.0, 9.0), appearance, generators[1])
    apart = (found - expected).square().mean(dim=(1, 2)).sqrt()
    assert float(apart.max()) < bound
    assert float(apart.median()) < bound / 5
    # Blades cover exactly the same pixels, and some images have some.
    covered, same = (i == i.amax(dim=(1, 2), keepdim=True) for i in (expected, found))
    assert torch.equal(covered.sum(dim=(1, 2)) > 30, same.sum(dim=(1, 2)) > 30)
    assert 3 < int((appearance.covered.sum(dim=1) > 0).sum()) < 15


def test_images_get_harder_over_the_budget():
    hard = Randomization(full_at=0.4)
    assert [hard.difficulty(p) for p in (0.0, 0.2, 0.4, 1.0)] == [0.0, 0.5, 1.0, 1.0]
    assert Randomization(full_at=0.0).difficulty(0.0) == 1.0


def batch_of(stream: Stream, count: int) -> Batch:
    return stream.shown(*stream.rendered(count), 1.0)


@pytest.fixture(scope="module")
def stream_of(phantom):
    """A function that begins the same stream of X-rays anew."""
    camera = Intrinsics.centered(1020.0, (10.0, 10.0), (32, 32))
    view = NominalView("AP", tuple(map(float, phantom.center)), 700.0)
    task = Task(density_grid(phantom), view, PoseRange(), camera)
    return lambda seed=0: Stream(task, camera, Randomization(), torch.device("cpu"), seed), task, camera


def test_half_of_the_x_rays_show_what_a_cut_off_volume_lacks(phantom):
    camera = Intrinsics.centered(1020.0, (10.0, 10.0), (32, 32))
    view = NominalView("AP", tuple(map(float, phantom.center)), 700.0)
    task = Task(density_grid(cut_off(phantom, (1.0, 1.0, 0.5))), view, PoseRange(), camera)
    whole = density_grid(phantom)
    more, fewer = (Stream(task, camera, Randomization(beyond=share), torch.device("cpu"), 0) for share in (0.5, 0.0))
    clean, motions = more.rendered(8)
    known = fewer.rendered(8)[0]
    torch.testing.assert_close(clean[4:], known[4:])
    assert bool((clean[:4] >= known[:4] - 1e-4).all())
    # The guess is nearer to what is really there than nothing is.
    truth = render(whole, task.view.absolute(motions.double().numpy()), camera, more.step)[:4]
    lacking = truth - known[:4] > 0.3
    assert float((clean[:4] - truth).abs()[lacking].mean()) < 0.7 * float((known[:4] - truth).abs()[lacking].mean())


def test_a_stream_shows_what_its_motions_say_and_repeats_itself(stream_of):
    new, task, camera = stream_of
    stream = new()
    batch = batch_of(stream, 6)
    poses = task.view.absolute(batch.motions.double().numpy())
    torch.testing.assert_close(render(stream.grid, poses, camera, stream.step), batch.clean, atol=1e-3, rtol=1e-3)
    assert torch.equal(batch_of(new(), 6).images, batch.images)
    assert not torch.equal(batch_of(new(1), 6).images, batch.images)
    assert not torch.equal(batch_of(stream, 6).clean, batch.clean)


def test_a_pool_goes_through_all_then_replaces_its_part(stream_of):
    pool = Pool(stream_of[0](), 40, 0.25)
    epochs = []
    for _ in range(3):
        motions = torch.cat([pool.rendered(10)[1] for _ in range(4)]).flatten(1)
        epochs.append({tuple(row) for row in motions.tolist()})
    assert [len(e) for e in epochs] == [40, 40, 40]
    assert len(epochs[0] & epochs[1]) == 30
    assert len(epochs[0] & epochs[2]) == 20
    # A batch over the border of two epochs has the rest of one and the first of the next.
    uneven = Pool(stream_of[0](), 25, 0.2)
    rows = torch.cat([uneven.rendered(10)[1] for _ in range(5)]).flatten(1).tolist()
    first, second = ({tuple(row) for row in rows[a : a + 25]} for a in (0, 25))
    assert len(first) == len(second) == 25
    assert len(first & second) == 20


def test_batches_made_ahead_are_the_sources_in_its_order(stream_of):
    new, _, _ = stream_of
    direct = new()
    before = threading.active_count()
    with Prefetched(new(), 4) as batches:
        for _ in range(2):
            for expected in batches_of(direct, [direct.rendered(4) for _ in range(TOGETHER)], 0.0):
                found = batches.next()
                torch.testing.assert_close(found.images, expected.images)
                torch.testing.assert_close(found.motions, expected.motions)
                assert found.clean.shape == expected.clean.shape == (4, 32, 32)
    assert threading.active_count() == before


def test_what_goes_wrong_in_making_a_batch_is_raised_where_it_is_waited_for():
    class Broken:
        def rendered(self, count: int) -> None:
            raise ValueError("no more X-rays")

    with Prefetched(Broken(), 4) as batches, pytest.raises(ValueError, match="no more X-rays"):
        batches.next()


def test_dense_points_are_dense_voxels_in_space(phantom):
    grid = density_grid(phantom)
    points = dense_points(grid, 50)
    ijk = (np.linalg.inv(grid.grid_to_ras) @ np.c_[points, np.ones(50)].T)[:3].round().astype(int)
    values = grid.densities().numpy()[ijk[2], ijk[1], ijk[0]]
    assert values.min() > 0.03
    assert len(np.unique(points, axis=0)) == 50


def test_a_pool_smaller_than_a_batch_is_refused():
    from XVRegistrationLib.errors import InputError

    with pytest.raises(InputError, match="at least as many"):
        TrainingSettings(pool=8)
    with pytest.raises(InputError, match="between 0 and 1"):
        TrainingSettings(replaced=2.0)
