from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["derp_auth_lite*"]), "derp_auth_lite.templates"])
