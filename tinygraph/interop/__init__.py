"""Other programs' formats. ``tinygraph.interop.onnx`` reads and writes ONNX; nothing here is imported before it is asked for."""
