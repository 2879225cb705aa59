"""Bytes and answers under attack and corruption."""
