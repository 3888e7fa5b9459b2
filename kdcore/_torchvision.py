"""The one door to torchvision: `from kdcore._torchvision import torchvision`. Import it before
timm, which needs torchvision too.

The torchvision wheel of the Python package index is linked against CUDA. Beside a CPU-only torch
its compiled operators cannot load, and its import then stops with `RuntimeError: operator
torchvision::nms does not exist`, because it describes two of them (nms and qnms) without asking
whether they are there. Only in that case this module declares the two (names and argument types, no
code behind them) and imports again. What the project uses of torchvision, transforms and data sets,
is Python and is complete; calling nms still fails, with torchvision's own message.

SHIM is None where torchvision imports by itself; else the torch.library.Library that holds the two
declarations (they last while it lives).
"""

import torch

SHIM = None

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    SHIM = torch.library.Library("torchvision", "DEF")
    SHIM.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    SHIM.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401
