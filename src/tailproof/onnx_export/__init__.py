"""`tailproof export`: one ONNX file that answers as an expert does, and the check that it does."""
