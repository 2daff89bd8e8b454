"""Tests of derp_auth_lite; the folders below hold suites that run on demand."""
