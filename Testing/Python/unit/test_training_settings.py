"""What a training's settings say is what happens in it, seen from outside, and a training that goes on is as one without a break."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch

from Testing.Python.unit.fixed_xrays import PIXELS, FixedXrays, small_task
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.settings import GROUP, NetworkSettings
from XVRegistrationLib.training.checkpoints import optimizer_tensors, restored_state, training_of
from XVRegistrationLib.training.objective import LossWeights, Weight
from XVRegistrationLib.training.trainer import Progress, TrainingSettings, TrainingState, new_state, train
from XVRegistrationLib.training.xray_sources import Randomization, Stream

if TYPE_CHECKING:
    from XVRegistrationLib.networks.pose_network import PoseNetwork

SETTINGS = TrainingSettings(seconds=1e6, batch=4)
SMALL = NetworkSettings(pixels=PIXELS, normalization=GROUP)
ATTENTION = NetworkSettings(pixels=PIXELS, head_channels=16, architecture="attention", normalization=GROUP)


# Sums in another order would be another training.
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def task():
    return small_task()


def network(settings: NetworkSettings = SMALL) -> PoseNetwork:
    torch.manual_seed(0)
    return create_network(settings)


def weights(state: TrainingState) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in state.network.parameters()])


def test_x_rays_get_harder_while_a_network_learns(task):
    source = FixedXrays()
    settings = dataclasses.replace(SETTINGS, most_steps=24, randomization=Randomization(full_at=0.25))
    train(new_state(network(), settings), task, settings, source=source)
    assert source.difficulties[0] < 1e-3
    assert source.difficulties[-1] == 1.0
    assert source.difficulties == sorted(source.difficulties)


def test_a_training_with_a_pool_renders_no_more_than_that(task, monkeypatch):
    counts = []
    rendered = Stream.rendered

    def counted(self: Stream, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        counts.append(count)
        return rendered(self, count)

    monkeypatch.setattr(Stream, "rendered", counted)
    settings = dataclasses.replace(SETTINGS, most_steps=10, pool=12, replaced=0.0)
    assert train(new_state(network(), settings), task, settings).images == 40
    assert counts == [12]


def test_a_networks_regulariser_is_learnt_by_its_weight(task):
    """Nothing but it moves the weights of the decoder."""
    still = network(ATTENTION)
    for weight in (0.0, 5.0):
        settings = dataclasses.replace(SETTINGS, most_steps=2, regulariser_weight=weight, weight_decay=0.0)
        state = train(new_state(network(ATTENTION), settings), task, settings, source=FixedXrays())
        pairs = zip(state.network.decoder.parameters(), still.decoder.parameters(), strict=True)
        moved = max(float((a - b).detach().abs().max()) for a, b in pairs)
        assert (moved > 0) == (weight > 0)


def test_a_network_learns_by_the_losses_that_the_settings_weigh(task):
    def first_loss(losses: LossWeights) -> float:
        seen: list[Progress] = []
        settings = dataclasses.replace(SETTINGS, most_steps=1, losses=losses)
        train(new_state(network(), settings), task, settings, seen.append, source=FixedXrays())
        return seen[0].loss

    none = Weight(0.0)
    once, euler = first_loss(LossWeights()), first_loss(LossWeights(geodesic=none, euler=Weight(1.0)))
    assert first_loss(LossWeights(geodesic=Weight(2.0))) == pytest.approx(2 * once)
    assert first_loss(LossWeights(euler=Weight(1.0))) == pytest.approx(once + euler)
    assert euler != pytest.approx(once)


def test_a_training_that_goes_on_is_as_one_without_a_break(task):
    """Weights, optimiser, learning rate and counts are those that it was stopped with; its X-rays are the next ones here."""
    settings = dataclasses.replace(SETTINGS, most_steps=8)
    whole = train(new_state(network(), settings), task, settings, source=FixedXrays())
    source = FixedXrays()
    first = new_state(network(), settings)

    class EnoughError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.steps == 4:
            raise EnoughError

    with pytest.raises(EnoughError):
        train(first, task, settings, stop, source=source)
    kept, training = optimizer_tensors(first.optimizer), training_of(first, settings)
    again = network()
    again.load_state_dict(first.network.state_dict())
    source.rewind(16)
    after = train(restored_state(again, settings, training, kept), task, settings, source=source)
    torch.testing.assert_close(weights(after), weights(whole), rtol=0, atol=1e-6)
    assert (after.steps, after.images) == (whole.steps, whole.images) == (8, 32)
    # It matters: an optimiser that has forgotten everything goes elsewhere.
    again.load_state_dict(first.network.state_dict())
    source.rewind(16)
    forgot = train(restored_state(again, settings, training, {}), task, settings, source=source)
    assert float((weights(forgot) - weights(whole)).abs().max()) > 1e-4
