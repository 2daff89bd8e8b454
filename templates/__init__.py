"""Mail and page templates, installed as ``derp_auth_lite.templates``."""
