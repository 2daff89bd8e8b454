"""What every backend does, as tests that a backend inherits.

::

    class TestMyBackend(BackendContract):
        CANNOT = {"list_sessions": "has no call that lists sessions"}

        @pytest.fixture
        def auth(self, auth_clock):
            with open_my_backend(clock=auth_clock) as client:
                yield client

and so on for the methods of :class:`Hooks`. A test whose method is in ``CANNOT`` does not pass
over: it wants ``NotImplementedError`` with that reason. A backend that keeps a promise in another
way overrides that one test, and says why in its docstring.
"""

from __future__ import annotations

from ._contract.hooks import NEW_PASSWORD, PAGE, Hooks, Mailed
from ._contract.mail import LinkContract
from ._contract.orgs import OrgContract
from ._contract.sessions import SessionContract
from ._contract.users import UserContract

__all__ = [
    "NEW_PASSWORD",
    "PAGE",
    "BackendContract",
    "Hooks",
    "LinkContract",
    "Mailed",
    "OrgContract",
    "SessionContract",
    "UserContract",
]


class BackendContract(UserContract, SessionContract, LinkContract, OrgContract):
    """The whole contract. The fixture ``auth_clock`` of the pytest plugin moves time."""
