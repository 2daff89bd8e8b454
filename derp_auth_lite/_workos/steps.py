"""Steps that WorkOS asks for in the middle of a sign-in, and what answers each."""

from __future__ import annotations

__all__ = ["EMAIL_VERIFICATION", "MAGIC_AUTH", "answer_to"]

_GRANT = "urn:workos:oauth:grant-type:"
MAGIC_AUTH = f"{_GRANT}magic-auth:code"
EMAIL_VERIFICATION = "email_verification_required"
_ANSWERS = {
    EMAIL_VERIFICATION: (f"{_GRANT}email-verification:code", ("code",)),
    "mfa_challenge": (f"{_GRANT}mfa-totp", ("code", "challenge_id")),
    "organization_selection_required": (f"{_GRANT}organization-selection", ("org_id",)),
}
_NAMES = {"challenge_id": "authentication_challenge_id", "org_id": "organization_id"}


def answer_to(step: str, **given: str | None) -> tuple[str, dict[str, str]]:
    """Return the grant that answers a step, and its fields.

    Raises:
        NotImplementedError: The step can be taken on the service's own pages alone.
        ValueError: What the step needs was not given.
    """
    if step not in _ANSWERS:
        raise NotImplementedError(
            f"{step} is a step of WorkOS' own pages: send the browser to "
            'start_oauth("authkit").url instead'
        )
    grant, needed = _ANSWERS[step]
    fields = {}
    for name in needed:
        value = given[name]
        if value is None:
            raise ValueError(f"{name} is needed for the step {step}")
        fields[_NAMES.get(name, name)] = value
    return grant, fields
