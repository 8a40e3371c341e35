"""Tests of gateway.reporting."""
