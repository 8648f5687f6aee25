"""timm backbones for single-channel images."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import torch
from torch import nn

from XVRegistrationLib.errors import InputError


def create_backbone(name: str, pixels: int) -> tuple[nn.Module, int, int]:
    """A timm feature extractor (B, 1, pixels, pixels) -> (B, C, h, w), not pretrained, with C and h * w.

    Raises InputError for a name that timm does not know.
    """
    _make_torchvision_importable()
    import timm

    if not timm.is_model(name):
        raise InputError(f"There is no timm backbone called {name!r}; see timm.list_models().")
    model = timm.create_model(name, in_chans=1, num_classes=0, global_pool="", pretrained=False)
    # Models whose classifier has a 1x1 convolution of its own after pooling keep it inside forward_head; only the
    # feature map is wanted here.
    backbone = _FeatureMap(model)
    with torch.no_grad():
        backbone.eval()
        shape = backbone(torch.zeros(1, 1, pixels, pixels)).shape
        backbone.train()
    if len(shape) != 4:
        raise InputError(f"The backbone {name!r} gives no feature map; choose a convolutional one.")
    return backbone, shape[1], shape[2] * shape[3]


class _FeatureMap(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        # Layers after the feature map would be saved, optimised and never used.
        for name in ("conv_head", "norm_head", "classifier", "head"):
            if hasattr(model, name):
                setattr(model, name, nn.Identity())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return features


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
