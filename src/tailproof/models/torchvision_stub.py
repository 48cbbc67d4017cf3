"""Import torchvision, which timm needs, also where its compiled extension does not load.

The extension of the published wheels is built for CUDA; beside a CPU build of torch it fails to
load and torchvision stops at its first operator, `nms`. No model here uses it, so its signature
is declared and the import tried again.
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
