"""Packets written on one machine and read on another."""
