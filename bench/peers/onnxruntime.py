"""ONNX Runtime: a model of one node; weights are constants that it packs when the session is made."""

from __future__ import annotations

from ..case import Case
from . import onnx_model
from .peer import Peer, Prepared


class Onnxruntime(Peer):
    """Its operators take NCHW only: NHWC arrays are transposed inside of the model, as its users have to."""

    name = "onnxruntime"
    modules = ("onnxruntime", "onnx")
    distributions = ("onnxruntime",)
    has_epilogues = True

    def refusal(self, case: Case) -> str:
        return onnx_model.refusal(case)

    def prepare(self, case: Case) -> Prepared:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Its idle threads must not spin while the others are timed.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = onnxruntime.InferenceSession(
            onnx_model.model_bytes(case), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        feed = {name: onnxruntime.OrtValue.ortvalue_from_numpy(onnx_model.input_array(case))}
        return Prepared(
            lambda: session.run_with_ort_values(None, feed)[0],
            lambda result: onnx_model.result_array(case, result.numpy()),
        )
