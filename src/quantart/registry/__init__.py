"""Registered versions, their gates, and which of them is the champion."""
