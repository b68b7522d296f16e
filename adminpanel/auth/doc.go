// Package auth knows who calls the panel and what they may do there. It has no routes of
// its own; package api asks it.
//
// Callers are people and their API tokens. People sign in with a password of the panel's
// or at an identity provider (OpenID Connect), and then have a session, whose id is in a
// cookie. What they may do hangs on grants, each a role over the devices that a selector
// meets. The table [Rules] says for each route which action it is, and which role that
// action takes.
//
// What it keeps:
//   - The store never holds what would let its reader in: passwords as argon2id, ids of
//     sessions and secrets of tokens as SHA-256.
//   - An action that is in no table, a role that nobody knows and a selector that does not
//     parse are refused; they never mean everything.
//   - A token may never do what its maker may not do at that moment. Who is disabled,
//     deleted or has another password ends their sessions in the same commit, because
//     sessions name the era of their account, which is then another.
//   - An unknown name costs the same work as a wrong password and gets the same answer.
//   - Memory is bounded: at most four passwords are hashed at a time, few wait for that,
//     and the limits of rate count a bounded number of callers.
//   - Every change that a person makes is committed together with its line of the audit.
//
// What it defends against: guessed and sprayed passwords, forged, expired and foreign
// cookies and tokens, fixed sessions (each login has a new one and ends the one it came
// with), pages of other sites (cross-origin requests, DNS rebinding, forms), a second use
// of an answer of the identity provider, an identity there that has the name of somebody
// here, and the last administrator locking everybody out.
//
// What it does not do: it does not hide that an account is being guessed at from its
// owner, who has to wait too while somebody tries passwords; and it trusts the identity
// provider's word on names and groups.
//
// Rejected: signed tokens in place of sessions, which cannot be ended; grants copied into
// sessions and tokens, which outlive the reason for them; rules of composition for
// passwords, which make them worse.
package auth
