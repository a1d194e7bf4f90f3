"""OpenVINO: a model of one operation, compiled for float32 arithmetic and this number of threads."""

from __future__ import annotations

import numpy as np

from ..case import Case
from . import onnx_model
from .peer import Peer, Prepared


class OpenVINO(Peer):
    """It is given NHWC arrays through transposes that it folds into its own layouts."""

    name = "openvino"
    modules = ("openvino", "onnx")
    distributions = ("openvino",)
    has_epilogues = True

    def refusal(self, case: Case) -> str:
        if case.problem.dtype != "float32":
            return "other dtypes are computed in float32 or bfloat16"
        return onnx_model.refusal(case)

    def prepare(self, case: Case) -> Prepared:
        import openvino

        core = openvino.Core()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": case.threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(core.read_model(onnx_model.model_bytes(case)), "CPU", settings)
        request = compiled.create_infer_request()
        source = onnx_model.input_array(case)
        request.set_input_tensor(openvino.Tensor(source, shared_memory=True))

        def run() -> np.ndarray:
            request.infer()
            return np.asarray(request.get_output_tensor().data)

        return Prepared(run, lambda result: onnx_model.result_array(case, result))
