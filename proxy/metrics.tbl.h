/* SPDX-License-Identifier: Apache-2.0
 *
 * proxy/metrics.tbl.h - METRIC(id, name, type, help). A name may carry labels;
 * rows of one family stand together. */
METRIC(
    CONNECTIONS, "bailiff_connections", "gauge", "Open connections of callers")
METRIC(CONNECTIONS_TOTAL, "bailiff_connections_total", "counter",
    "Connections accepted")
METRIC(CONNECTIONS_REFUSED, "bailiff_connections_refused_total", "counter",
    "Connections closed at once for a limit")
METRIC(HANDSHAKE_FAILURES, "bailiff_tls_handshake_failures_total", "counter",
    "TLS handshakes that failed")
METRIC(REQUESTS, "bailiff_requests_total", "counter",
    "Requests whose head was read")
METRIC(
    REQUESTS_RUNNING, "bailiff_requests_running", "gauge", "Requests under way")
METRIC(PERMITTED, "bailiff_decisions_total{decision=\"permit\"}", "counter",
    "Decisions on record")
METRIC(DENIED, "bailiff_decisions_total{decision=\"deny\"}", "counter", "")
METRIC(REFUSED, "bailiff_refused_total", "counter",
    "Requests refused before the caller was known")
METRIC(OVERLOAD, "bailiff_overload_refused_total", "counter",
    "Of these, refused because more had come than could be answered in time")
METRIC(EMERGENCY_REQUESTS, "bailiff_emergency_requests_total", "counter",
    "Requests that an emergency let through, against the rules")
METRIC(OUTCOME_OK, "bailiff_outcomes_total{outcome=\"ok\"}", "counter",
    "How permitted requests ended")
METRIC(OUTCOME_CUT, "bailiff_outcomes_total{outcome=\"cut\"}", "counter", "")
METRIC(OUTCOME_CLIENT_GONE, "bailiff_outcomes_total{outcome=\"client_gone\"}",
    "counter", "")
METRIC(OUTCOME_ENGINE_ERROR, "bailiff_outcomes_total{outcome=\"engine_error\"}",
    "counter", "")
METRIC(
    WITHDRAWN, "bailiff_outcomes_total{outcome=\"withdrawn\"}", "counter", "")
METRIC(
    ATTEMPTS, "bailiff_engine_attempts_total", "counter", "Attempts at engines")
METRIC(QUEUED, "bailiff_queue_waiting", "gauge",
    "Requests that wait for a place at an engine")
METRIC(QUEUED_TOTAL, "bailiff_queue_waits_total{end=\"granted\"}", "counter",
    "How waiting for a place ended")
METRIC(
    QUEUE_TIMEOUT, "bailiff_queue_waits_total{end=\"timeout\"}", "counter", "")
METRIC(QUEUE_PUSHED, "bailiff_queue_waits_total{end=\"pushed\"}", "counter", "")
METRIC(QUEUE_GONE, "bailiff_queue_waits_total{end=\"gone\"}", "counter", "")
METRIC(QUEUE_FULL, "bailiff_queue_full_total", "counter",
    "Requests that found the queue full")
METRIC(CHARGES_DUE, "bailiff_quota_charges_due_total", "counter",
    "Settlements of quotas where something had been used")
METRIC(CHARGES, "bailiff_quota_charges_total", "counter",
    "Settlements of quotas that charged something")
METRIC(OVER_RESERVATION, "bailiff_engine_over_reservation_total", "counter",
    "Answers of engines that went past the cap that they were given")
METRIC(GOVERNANCE_UNAVAILABLE, "bailiff_governance_unavailable_total",
    "counter", "Requests refused because they could not be judged or recorded")
METRIC(POLICY_ERRORS, "bailiff_policy_errors_total", "counter",
    "Rules whose evaluation failed")
METRIC(INPUT_TOKENS, "bailiff_tokens_total{type=\"input\"}", "counter",
    "Tokens charged")
METRIC(OUTPUT_TOKENS, "bailiff_tokens_total{type=\"output\"}", "counter", "")
METRIC(
    HELD_BYTES, "bailiff_held_bytes", "gauge", "Bodies and answers in memory")
METRIC(OUT_OF_MEMORY, "bailiff_out_of_memory_total", "counter",
    "Requests refused for want of memory")
