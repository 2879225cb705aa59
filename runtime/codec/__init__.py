"""The codec: packet, coding tables, coarser steps, rate control, and the rANS coder with its backends."""
