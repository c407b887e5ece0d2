"""Networks for other programs: ONNX files, C headers, PyTorch modules.

Each export can check itself on the points that the network has memorised, and its report says
which of them, if any, get another label than from fastmem.
"""

from fastmem.export.c_header import to_c
from fastmem.export.checking import ExportReport, ExportWarning
from fastmem.export.onnx_file import to_onnx
from fastmem.export.torch_module import to_torch

__all__ = ["ExportReport", "ExportWarning", "to_c", "to_onnx", "to_torch"]
