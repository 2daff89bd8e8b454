"""What a new password must be; the public names are in :mod:`derp_auth_lite.password`."""
