"""Imports torchvision, which timm needs, even if its compiled extension does not load.

The extension in the published wheels is built for CUDA. With a CPU build of torch it fails to load,
and importing torchvision fails at its first operator, `nms`. No model here uses that operator, so
this module declares its signature and imports torchvision again.
"""

import sys

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms does not exist" not in str(error):
        raise
    from torch.library import Library

    for _name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[_name]
    # The library must stay alive as long as the process.
    _declarations = Library("torchvision", "DEF")
    _declarations.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declarations.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401
