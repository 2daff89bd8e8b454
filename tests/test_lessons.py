"""What went wrong elsewhere, and what NIST SP 800-63B-4 asks for: each lesson has its test."""

from __future__ import annotations

import pytest

from derp_auth_lite._tables import User
from derp_auth_lite.exceptions import InvalidCredentialsError

from .support import PASSWORD
from .test_asvs import missing

EMAIL = "ada@example.com"
URL = "https://app.example/page"

SHOWN_BY = {
    # NIST SP 800-63B-4, section 3.1.1 and 3.2.2
    "a maximum of 64 characters at the least": [
        "test_password::test_a_good_password_passes_without_rules_of_composition"
    ],
    "each code point counts one": ["test_password::test_a_bad_password_is_refused_and_told_why"],
    "Unicode is taken and normalised": [
        "test_password::test_it_does_not_matter_how_a_keyboard_composes_an_accent"
    ],
    "no periodic change, no hints, no questions": [
        "test_lessons::test_a_password_is_never_too_old",
        "test_lessons::test_no_hint_and_no_question_is_kept",
    ],
    "the whole password is verified": [
        "test_password::test_every_character_of_a_long_password_counts"
    ],
    "a blocklist compares the whole password and says why": [
        "test_password::test_the_whole_password_is_compared",
        "test_password::test_a_bad_password_is_refused_and_told_why",
    ],
    "salt and cost are stored": [
        "test_password::test_each_hash_has_a_salt_of_its_own",
        "test_password::test_a_changed_profile_asks_for_a_new_hash",
    ],
    "at most 100 failures in a row": [
        "test_throttle::test_after_a_hundred_the_right_password_looks_as_wrong_as_any",
        "test_throttle::test_a_hundred_is_the_most_that_can_be_configured",
    ],
    "a success begins anew, another code does not": [
        "test_throttle::test_at_ninety_nine_it_still_opens_and_the_count_begins_anew",
        "test_lessons::test_asking_for_another_link_does_not_begin_the_count_anew",
    ],
    "a recovery is notified": [
        (
            "test_mail_flows::"
            "test_after_a_reset_every_other_link_of_the_account_is_dead_and_its_owner_is_told"
        )
    ],
    # Others
    "PyJWT takes crit headers that it does not know": [
        "test_jwt::test_a_header_other_than_ours_is_refused",
        "test_jwks::test_a_strange_header_is_refused",
    ],
    "PyJWT takes padding and stray characters": [
        "test_jwt::test_padding_is_refused_though_pyjwt_takes_it",
        "test_jwt::test_stray_characters_are_refused_wherever_they_are",
        "test_jwks::test_a_malformed_token_is_refused",
    ],
    "key confusion": [
        "test_jwt::test_a_public_key_is_no_hmac_key",
        "test_jwt::test_keys_that_a_token_brings_or_points_to_are_not_used_or_fetched",
        "test_jwks::test_a_public_key_is_no_hmac_secret",
        "test_jwks::test_keys_in_the_header_are_ignored_and_nothing_is_fetched",
        "test_jwt_vectors::test_a_public_key_verifies_nothing_as_an_hmac_key",
    ],
    "unknown kids flood the provider": [
        "test_jwks::test_a_thousand_unknown_kids_cause_one_fetch",
        "test_jwks::test_unknown_kids_from_many_threads_cause_one_fetch",
    ],
    "Authlib, fastapi-sso, fastapi-users: a state that no browser is bound to": [
        "test_oauth::test_row_6_another_browser_cannot_finish_what_this_one_began",
        "test_flask_oauth::test_another_browser_cannot_finish_what_this_one_began",
    ],
    "better-auth GHSA-qq9h-g4jm-xgf3, Supabase: who was there before the proof stays": [
        (
            "test_mail_flows::"
            "test_a_magic_link_takes_password_sessions_and_identities_from_the_squatter"
        ),
        "test_mail_flows::test_a_reset_takes_them_too",
        "test_oauth::test_row_4_*",
    ],
    "Auth.js GHSA-7rqj-j65f-68wh: an address is checked before it is normalised": [
        "test_addresses::test_what_is_not_one_plain_address_is_refused",
        "test_addresses::test_no_foreign_character_ends_as_an_ascii_one_or_as_nothing",
    ],
    "django-allauth: a good sign-in clears the limit of its network": [
        "test_throttle::test_a_success_clears_the_account_and_not_the_range"
    ],
    "django-allauth: a blank password opens an account that has none": [
        "test_lessons::test_no_password_at_all_opens_an_account_that_has_none",
        "test_native_client::test_an_account_without_a_password_has_none_to_change",
    ],
    "better-auth #10070: a pool of one deadlocks": [
        "test_orm::test_a_pool_of_one_does_not_deadlock_on_nested_work"
    ],
    "Flask-Security CVE-2023-49438: open redirects": [
        "test_flask_guards::test_another_site_is_not_gone_to",
        "test_flask_guards::test_signing_in_leads_to_no_other_site",
    ],
    "Flask-Security GHSA-f66q-9rf6-8795: freshness is got round": [
        (
            "test_session_policy::"
            "test_it_is_the_beginning_of_the_session_that_counts_and_not_its_refresh"
        ),
        "test_session_policy::test_what_is_not_known_or_in_the_future_is_not_recent",
        "test_flask_guards::test_what_matters_most_asks_again_after_a_while",
        "test_flask_pages::test_an_address_is_changed_only_by_who_signed_in_just_now",
    ],
    "requests: environment, time-outs, redirects": [
        "test_http::test_the_environment_decides_nothing",
        "test_http::test_the_whole_call_has_one_deadline",
        "test_http::test_a_redirect_is_translated_like_a_refusal",
    ],
    "templates come from trusted files alone": [
        "test_email_templates::test_no_name_leads_out_of_the_folder",
        "test_email_templates::test_no_text_makes_a_tag",
        "test_email_templates::test_a_variable_cannot_break_out_of_a_subject",
    ],
    "Django CVE-2019-19844: mail goes to the address that was typed": [
        "test_mail_silence::test_mail_goes_to_the_stored_form_of_the_address"
    ],
    "Auth.js GHSA-xmf8-cvqr-rfgj: a malformed header raises": [
        "test_bad_input::test_an_odd_request_is_nobodys"
    ],
    "mail scanners open links": ["test_flask_pages::test_opening_a_link_spends_nothing"],
    "an office behind one address goes on working": [
        "test_throttle::test_a_guesser_in_the_office_does_not_lock_out_who_works_there",
        "test_throttle::test_who_guesses_locks_nobody_out_who_sits_elsewhere",
    ],
    # Public vectors
    "Wycheproof json_web_signature": ["test_jwt_vectors::test_hmac_signatures"],
    "Wycheproof json_web_key": ["test_jwt_vectors::test_hmac_keys"],
    "Wycheproof hmac_sha256": ["test_keys::test_wycheproof_hmac_sha256"],
    "Argon2's known answers": ["test_password::test_known_answers_of_the_reference_implementation"],
}


@pytest.mark.parametrize("lesson", SHOWN_BY)
def test_each_lesson_is_shown_by_tests_that_are_there(lesson):
    assert missing(SHOWN_BY[lesson]) == []


@pytest.mark.parametrize("blank", ["", " ", "\0", None], ids=["empty", "space", "NUL", "None"])
def test_no_password_at_all_opens_an_account_that_has_none(auth, blank):
    """A lesson of django-allauth."""
    user = auth.create_user(email=EMAIL, confirmed=True)
    with pytest.raises(InvalidCredentialsError):
        auth.sign_in_with_password(EMAIL, blank)
    with pytest.raises(InvalidCredentialsError):
        auth.change_password(user_id=user.id, current_password=blank, new_password=PASSWORD)
    assert auth.list_sessions() == []


def test_asking_for_another_link_does_not_begin_the_count_anew(make_auth):
    """NIST SP 800-63B-4, section 3.2.2: what is sent again gives no more tries."""
    auth = make_auth(enable_magic_link=True)
    user = auth.create_user(email=EMAIL, password=PASSWORD, confirmed=True)
    for _ in range(3):
        with pytest.raises(InvalidCredentialsError):
            auth.sign_in_with_password(EMAIL, "a wrong password")
    auth.request_password_recovery(email=EMAIL, recovery_url=URL)
    auth.sign_in_with_magic_link(email=EMAIL, magic_link_url=URL)
    auth.resend_confirmation_email(email=EMAIL, confirmation_url=URL)
    auth.request_email_change(user_id=user.id, new_email="new@example.com", confirm_url=URL)
    auth.deliver_mail()
    assert auth._accounts.by_email(EMAIL).failed_sign_ins == 3


def test_a_password_is_never_too_old(auth, clock):
    auth.create_user(email=EMAIL, password=PASSWORD)
    clock.advance(days=3650)
    assert auth.sign_in_with_password(EMAIL, PASSWORD).tokens


def test_no_hint_and_no_question_is_kept():
    columns = set(User._meta.fields)
    assert not [name for name in columns if any(w in name for w in ("hint", "question", "answer"))]
