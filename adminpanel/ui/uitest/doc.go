// Package uitest serves the panel's pages with an API that lives in memory, so that they
// can be tested and looked at in a browser without a fleet.
//
// It speaks package view's JSON by the routes of the panel and judges selectors by the
// fleet's own grammar. Its lies: devices do nothing by themselves and what is asked of one
// stays asked until a test says otherwise; every password is right that is "let me in";
// a rollout's verbs change its state and nothing else; uploads are counted and thrown
// away; the audit's hashes are counters; pictures come from whom the test names. Roles,
// Idempotency-Key and If-Match are not looked at, except that a verb's Expect has to be
// right.
//
// It is for tests and screenshots; nothing of the panel uses it.
package uitest
