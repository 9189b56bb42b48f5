//! Float graphs to ONNX files.
