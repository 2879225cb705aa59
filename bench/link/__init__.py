"""Frames over an emulated link."""
