"""timm backbones for single-channel images."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.networks.settings import GROUP, NetworkSettings

if TYPE_CHECKING:
    from types import ModuleType

_MOST_GROUPS = 32
_NEAR = 5  # names that are told of for one that is wrong


def create_backbone(settings: NetworkSettings) -> tuple[nn.Module, tuple[int, int, int]]:
    """A timm feature extractor (B, 1, pixels, pixels) -> (B, C, h, w), not pretrained, and its (C, h, w).

    Raises InputError for a name that timm does not know, or a model without a feature map.
    """
    # Models whose classifier has a 1x1 convolution of its own after pooling keep it inside forward_head; only the
    # feature map is wanted here.
    backbone = _FeatureMap(create_timm_model(settings.backbone, global_pool=""))
    if settings.normalization == GROUP:
        with_group_norm(backbone)
    try:
        with torch.no_grad():
            backbone.eval()
            shape = backbone(torch.zeros(1, 1, settings.pixels, settings.pixels)).shape
            backbone.train()
    except (RuntimeError, AssertionError, ValueError) as e:
        reason = str(e).strip().splitlines()[0]
        raise InputError(f"The backbone {settings.backbone!r} cannot see {settings.pixels} px ({reason}).") from e
    if len(shape) != 4:
        raise InputError(f"The backbone {settings.backbone!r} gives no feature map; choose a convolutional one.")
    return backbone, (shape[1], shape[2], shape[3])


def create_timm_model(name: str, **options: Any) -> nn.Module:
    """A timm model for one channel without a classifier, of random weights; InputError for a name that timm does not know.

    Names are looked up in timm's own list: what is said of other places, such as `hf-hub:`, is never fetched.
    """
    timm = timm_package()
    if not isinstance(name, str) or ":" in name or not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(str(name), timm.list_models(), _NEAR))
        there = f"there is {near}" if near else "see timm.list_models()"
        raise InputError(f"There is no timm backbone called {name!r}; {there}.")
    model: nn.Module = timm.create_model(name, in_chans=1, num_classes=0, pretrained=False, **options)
    return model


def with_group_norm(model: nn.Module) -> nn.Module:
    """`model` with every batch normalisation replaced by one over groups of channels, in place; weights are kept.

    After its creation, since many timm models take no `norm_layer`. There are as many groups as the largest divisor of
    the channels that is at most 32.
    """
    from timm.layers import BatchNormAct2d, GroupNormAct

    for name, module in list(model.named_modules()):
        if not isinstance(module, nn.BatchNorm2d):
            continue
        channels = module.num_features
        groups = max(n for n in range(1, min(channels, _MOST_GROUPS) + 1) if channels % n == 0)
        if isinstance(module, BatchNormAct2d):  # timm's are followed by what they hold
            group = GroupNormAct(channels, groups, eps=module.eps, affine=module.affine)
            group.drop, group.act = module.drop, module.act
        else:
            group = nn.GroupNorm(groups, channels, eps=module.eps, affine=module.affine)
        if module.affine:
            group.load_state_dict({"weight": module.weight, "bias": module.bias})
        model.set_submodule(name, group)
    return model


class _FeatureMap(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        # Layers after the feature map would be saved, optimised and never used. EfficientNets widen the map by one of them
        # for their classifier, and normalise it by bn2; other models have a bn2 elsewhere.
        names = ["conv_head", "norm_head", "classifier", "head"]
        if hasattr(model, "conv_head") and hasattr(model, "bn2"):
            names.append("bn2")
        for name in names:
            if hasattr(model, name):
                setattr(model, name, nn.Identity())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return features


def timm_package() -> ModuleType:
    """timm, imported beside whatever torchvision is here."""
    _make_torchvision_importable()
    return importlib.import_module("timm")


def _make_torchvision_importable() -> None:
    """timm imports torchvision, which fails with "operator torchvision::nms does not exist" where torch is a CPU build and
    torchvision a CUDA one: its compiled part does not load. Declaring the two operators that it decorates is enough.
    """
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as e:
        if "torchvision::" not in str(e):
            raise
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)
        importlib.import_module("torchvision")


_LIBRARIES: list[torch.library.Library] = []  # a library's definitions live as long as the object
