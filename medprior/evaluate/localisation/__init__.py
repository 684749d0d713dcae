"""Attention, roll-out and prior maps against masks and boxes."""
