"""Tests of scenes and panels."""
