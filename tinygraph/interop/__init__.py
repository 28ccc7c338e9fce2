"""Other programs' formats. ``tinygraph.interop.onnx`` reads and writes ONNX; nothing here is imported early."""
