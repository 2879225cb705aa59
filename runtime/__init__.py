"""What ships to the device and to the server: from pixels to logits through a real bitstream."""
