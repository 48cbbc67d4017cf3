"""An expert of the real pipeline as an ONNX file, next to what the pipeline computed."""

import numpy as np
import onnxruntime
from scipy.special import softmax

from tailproof.data.logits import Logits
from tailproof.files import read_json
from tailproof.loading import Split
from tailproof.onnx_export.command import export

EXPERT = "experts/balanced_softmax/seed-0"


def test_the_file_answers_as_the_pipeline_did_on_test(finished, tmp_path):
    folder, file = finished.results / EXPERT, tmp_path / "a.onnx"
    parity = export(str(folder), str(file), [], int8=False)
    assert parity.passed and parity.images == "dev of tiny" and parity.count > 50
    assert {"sets", "risks", "roll-ups", "plugin_worst"} <= parity.decisions.keys()
    test = Split(finished.results / "shards" / "manifest.json", "test")
    pixels = np.stack([test.image(row) for row in range(len(test))])
    session = onnxruntime.InferenceSession(file)
    logits, p, chosen, accepted = session.run(None, {"images": pixels})
    stored = Logits.read(folder / "logits" / "test.parquet")
    np.testing.assert_allclose(p, softmax(stored.values.astype(float), axis=1), atol=1e-5)
    np.testing.assert_array_equal(chosen, stored.values.argmax(axis=1))
    rules = read_json(folder / "deployment.json")
    (rule,) = (one for one in rules["rules"]["chow"] if one["coverage"] == rules["coverage"])
    np.testing.assert_array_equal(accepted, p.max(axis=1) - p.sum(axis=1) >= rule["threshold"])
    raw = Logits.read(folder / "raw_logits" / "test.parquet")
    np.testing.assert_allclose(logits, raw.values, atol=1e-4)
