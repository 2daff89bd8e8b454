"""The rows of OWASP ASVS 5.0 that apply, and the tests that show each."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

HERE = Path(__file__).parent

SHOWN_BY = {
    # Passwords and recovery
    "6.1.1": ["test_readme::test_its_table_of_limits_has_the_defaults"],
    "6.1.2": [
        "test_password::test_address_names_and_site_are_no_passwords_nor_are_trivial_variants",
        "test_breached::test_site_address_and_names_are_no_passwords_on_any_way_to_set_one",
    ],
    "6.1.3": [
        "test_asvs_rows::test_what_an_account_may_not_do_holds_on_every_path",
        "test_security::test_row_1_every_refused_sign_in_costs_exactly_one_argon2_run",
        "test_oauth::test_row_7_a_disabled_user_is_refused",
        "test_oauth::test_row_7_an_address_that_nobody_vouches_for_must_be_confirmed_first",
        "test_throttle::test_after_a_hundred_the_right_password_looks_as_wrong_as_any",
    ],
    "6.2.1": ["test_password::test_a_bad_password_is_refused_and_told_why"],
    "6.2.2": ["test_native_client::test_it_ends_the_other_sessions_and_keeps_the_one_that_asks"],
    "6.2.3": ["test_native_client::test_it_needs_the_present_one"],
    "6.2.4": ["test_password::test_ten_thousand_of_them_are_long_enough_to_matter"],
    "6.2.5": ["test_password::test_a_good_password_passes_without_rules_of_composition"],
    "6.2.8": [
        "test_password::test_what_was_hashed_verifies_and_nothing_close_to_it_does",
        "test_password::test_it_does_not_matter_how_a_keyboard_composes_an_accent",
        "test_password::test_compatibility_forms_are_other_passwords",
    ],
    "6.2.9": [
        "test_password::test_a_good_password_passes_without_rules_of_composition",
        "test_password::test_every_character_of_a_long_password_counts",
    ],
    "6.2.11": [
        "test_breached::test_site_address_and_names_are_no_passwords_on_any_way_to_set_one",
    ],
    "6.2.12": [
        "test_breached::test_a_breached_password_is_refused_on_every_way_to_set_one",
        "test_breached::test_a_service_that_gives_no_answer_lets_the_password_pass_in_time_and_is_an_event",
        "test_breached::test_a_check_of_ones_own_takes_its_place",
    ],
    "6.3.1": ["test_throttle::test_eight_processes_together_get_no_more_tries_than_one"],
    "6.3.2": ["test_asvs::test_a_new_database_has_no_users"],
    "6.3.4": [
        "test_asvs_rows::test_what_an_account_may_not_do_holds_on_every_path",
        "test_security::test_what_happened_is_on_record_with_the_reason_that_the_caller_never_learns",
    ],
    "6.3.7": [
        "test_asvs_rows::test_6_3_7_a_new_password_is_told_and_a_new_address_to_both",
        "test_mail_flows::test_changing_the_password_voids_a_link_and_tells_the_owner",
    ],
    "6.3.8": [
        "test_security::test_row_1_known_and_unknown_addresses_take_the_same_time",
        "test_throttle::test_one_place_gets_ten_tries_at_an_account_whether_or_not_it_exists",
        "test_mail_silence::test_known_unknown_confirmed_and_disabled_addresses_leave_the_same_trace",
    ],
    "6.4.1": [
        "test_one_time::test_a_token_is_256_random_bits_in_43_characters_of_a_url",
        "test_one_time::test_a_token_ends_by_the_clients_clock_whatever_the_store_keeps",
        "test_one_time::test_each_way_to_spend_a_claim_spends_it_once_and_voids_all_others",
    ],
    "6.4.3": ["test_mail_flows::test_a_link_sets_a_password_and_ends_all_sessions"],
    "6.5.1": [
        "test_mail_tokens::test_of_32_processes_that_redeem_one_link_one_succeeds",
        "faults/test_races::test_a_one_time_token_is_redeemed_by_one_of_all_who_try_at_once",
    ],
    "6.5.2": [
        "test_one_time::test_the_store_never_sees_a_token",
        "test_mail_tokens::test_nothing_in_a_dump_of_database_and_kv_store_can_be_presented",
    ],
    "6.5.3": [
        "test_asvs_rows::test_6_5_3_what_must_not_be_guessed_comes_from_the_secrets_module",
        "test_asvs_rows::test_6_5_3_a_known_seed_repeats_nothing",
    ],
    "6.5.4": ["test_one_time::test_a_token_is_256_random_bits_in_43_characters_of_a_url"],
    "6.5.5": [
        "test_mail_flows::test_a_link_dies_after_ten_minutes",
        "test_mail_flows::test_a_link_dies_with_its_lifetime",
    ],
    "6.8.1": ["test_oauth::test_the_same_subject_at_two_providers_is_two_users"],
    "6.8.2": ["test_jwks::test_alg_none_is_refused", "test_jwks::test_another_key_is_refused"],
    # Sessions
    "7.1.2": [
        "test_session_policy::test_the_oldest_session_ends_and_that_is_an_event",
        "test_session_policy::test_eight_sign_ins_at_once_leave_as_many_sessions_as_may_be",
    ],
    "7.2.2": [
        "test_asvs_rows::test_7_2_3_what_stands_for_a_session_is_unique_and_has_256_bits_that_nobody_knows",
        "test_native_client::test_a_refresh_gives_a_new_pair_and_the_old_token_is_spent",
    ],
    "7.2.3": [
        "test_asvs_rows::test_7_2_3_what_stands_for_a_session_is_unique_and_has_256_bits_that_nobody_knows",
        "test_keys::test_a_mac_is_32_bytes_and_checks",
    ],
    "7.2.4": [
        "test_asvs::test_each_sign_in_has_tokens_of_its_own",
        "test_flask_cookie::test_every_sign_in_brings_a_new_cookie_and_ends_the_session_before",
    ],
    "7.3.1": ["test_native_client::test_a_session_that_is_not_refreshed_for_a_week_is_over"],
    "7.3.2": ["test_native_client::test_a_session_ends_absolutely_however_often_it_is_refreshed"],
    "7.4.1": [
        "test_native_client::test_signing_out_ends_one_session_and_signing_out_everywhere_ends_all"
    ],
    "7.4.2": ["test_security::test_row_18_*"],
    "7.4.3": [
        "test_native_client::test_it_ends_the_other_sessions_and_keeps_the_one_that_asks",
        "test_session_policy::test_it_ends_all_but_the_one_that_asks",
    ],
    "7.4.5": [
        "test_native_client::test_signing_out_ends_one_session_and_signing_out_everywhere_ends_all"
    ],
    "7.5.1": [
        "test_session_policy::test_it_is_the_beginning_of_the_session_that_counts_and_not_its_refresh",
        "test_mail_flows::test_the_current_password_is_verified_where_it_is_given",
        "test_flask_pages::test_an_address_is_changed_only_by_who_signed_in_just_now",
    ],
    "7.5.2": [
        "test_session_policy::test_sessions_are_listed_with_agent_and_address",
        "test_session_policy::test_it_ends_all_but_the_one_that_asks",
        "test_flask_api::test_sessions_are_listed_page_by_page_and_ended",
    ],
    # Tokens
    "9.1.1": [
        "test_jwt::test_a_token_without_a_signature_is_refused",
        "test_jwt_vectors::test_hmac_signatures",
    ],
    "9.1.2": [
        "test_jwt::test_a_header_other_than_ours_is_refused",
        "test_jwt::test_a_token_of_another_configured_algorithm_is_refused",
        "test_jwks::test_alg_none_is_refused",
    ],
    "9.1.3": ["test_jwt::test_keys_that_a_token_brings_or_points_to_are_not_used_or_fetched"],
    "9.2.1": [
        "test_jwt::test_a_token_is_valid_before_exp_and_no_longer",
        "test_jwt::test_nbf_is_held_to_the_second",
    ],
    "9.2.2": [
        "test_asvs_rows::test_9_2_2_a_token_of_one_kind_is_refused_as_any_other",
        "test_mail_tokens::test_a_token_of_one_kind_is_refused_by_every_other_call",
        "test_one_time::test_a_token_of_one_kind_is_refused_as_any_other",
    ],
    "9.2.3": ["test_jwt::test_the_audience_holds_the_configured_one"],
    "9.2.4": [
        "test_jwt::test_the_audience_holds_the_configured_one",
        "test_jwt::test_configured_issuer_and_audience_are_in_the_token",
    ],
    # OAuth client
    "10.1.1": [
        "test_asvs_rows::test_10_1_1_no_token_of_a_provider_is_kept_anywhere",
    ],
    "10.1.2": ["test_oauth::test_row_6_another_browser_cannot_finish_what_this_one_began"],
    "10.2.1": [
        "test_oauth::test_the_url_carries_state_challenge_and_nonce_and_none_of_the_secrets",
        "test_oauth::test_row_6_*",
    ],
    "10.2.2": [
        "test_oauth::test_a_callback_that_names_another_issuer_is_refused_before_the_code_is_sent",
    ],
    "10.2.3": [
        "test_asvs_rows::test_10_2_3_no_more_is_asked_of_a_provider_than_who_somebody_is",
    ],
    "10.3.3": ["test_oauth::test_the_same_subject_at_two_providers_is_two_users"],
    "10.4.5": [
        (
            "test_security::"
            "test_row_15_a_stolen_token_presented_later_ends_the_session_for_thief_and_owner"
        ),
    ],
    "10.5.1": [
        "test_providers_openid::test_nonce",
        "test_oauth::test_row_6_a_nonce_of_another_flow_is_refused",
    ],
    "10.5.2": ["test_providers_openid::test_sub"],
    "10.5.3": [
        "test_providers_openid::test_issuer",
        "test_providers_oidc::test_the_document_names_exactly_the_configured_issuer",
    ],
    "10.5.4": ["test_providers_openid::test_aud", "test_providers_openid::test_azp"],
    # Cryptography and data
    "11.2.4": [
        "test_asvs_rows::test_11_2_4_no_secret_is_compared_with_an_operator",
        "test_asvs_rows::test_11_2_4_what_somebody_presents_is_compared_in_constant_time",
    ],
    "11.2.5": [
        "test_password::test_a_hash_that_cannot_be_computed_is_a_backend_error_and_never_a_yes"
    ],
    "11.4.2": ["test_password::test_a_profile_names_its_parameters"],
    "14.2.6": ["test_models::test_no_record_has_a_place_for_a_password_or_its_hash"],
    "14.2.7": [
        "test_native_client::test_purge_removes_what_is_over_and_keeps_what_lives",
        "test_events::test_events_are_purged_when_they_are_too_old",
    ],
    # Logs and errors
    "16.2.5": [
        "test_log_scan::test_it_is_at_work_in_this_run",
        "test_log_scan::test_it_finds_each_kind_of_secret",
        "test_events::test_a_whole_life_with_debug_logging_shows_no_secret_and_no_address",
    ],
    "16.3.1": ["test_events::test_every_act_of_an_accounts_life_is_one_event"],
    "16.3.2": [
        "test_security::test_what_happened_is_on_record_with_the_reason_that_the_caller_never_learns"
    ],
    "16.3.3": [
        "test_events::test_a_refresh_token_that_comes_back_is_on_record",
        "test_throttle::test_each_limit_that_is_passed_is_one_event_and_one_line_of_the_log",
    ],
    "16.4.1": ["test_mail_silence::test_logs_show_no_address_no_token_and_no_line_of_an_attacker"],
    "16.5.2": [
        "faults/test_every_call::test_a_fault_at_any_call_is_a_typed_error_and_leaves_nothing_half_done",
        "faults/test_kills::test_what_was_acknowledged_outlives_kill_minus_nine",
        "faults/test_shortages::test_on_sqlite_it_is_a_typed_error_with_nothing_half_done_and_passes",
        "faults/test_postgres_faults::test_what_breaks_in_a_transaction_is_undone_and_the_next_call_works",
        "faults/test_mail_faults::test_mails_come_later_and_who_asks_neither_waits_nor_learns_anything",
        "faults/test_provider_faults::test_a_broken_provider_is_a_typed_error_in_time_and_no_code_is_sent_twice",
    ],
    "16.5.3": [
        "test_throttle::test_without_its_store_nobody_gets_in",
        "faults/test_kv_faults::test_whatever_happens_to_the_store_nothing_is_spent_twice_and_nobody_gets_in",
    ],
}


@functools.cache
def names_in(module: str) -> frozenset[str]:
    """Return the names of all tests in a module, those in classes too."""
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    functions = (node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


def missing(places):
    """Return those of *places*, written as module::test, where no test is."""
    found = []
    for place in places:
        module, _, name = place.partition("::")
        known = names_in(module)
        is_there = (
            any(test.startswith(name[:-1]) for test in known)
            if name.endswith("*")
            else name in known
        )
        found += [] if is_there else [place]
    return found


@pytest.mark.parametrize("row", SHOWN_BY)
def test_each_row_is_shown_by_tests_that_are_there(row):
    assert SHOWN_BY[row]
    assert missing(SHOWN_BY[row]) == []


def test_a_new_database_has_no_users(auth):
    assert auth.count_users() == 0
    assert auth.list_users() == []


def test_each_sign_in_has_tokens_of_its_own(auth):
    first = auth.sign_up(email="ada@example.com", password="correct horse battery").tokens
    second = auth.sign_in_with_password("ada@example.com", "correct horse battery").tokens
    assert first.refresh_token != second.refresh_token
    assert first.access_token != second.access_token
