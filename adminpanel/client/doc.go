// Package client speaks to a panel in its own words: the routes of its API as Go functions,
// with the types of package view.
//
//	c, err := client.New(client.Config{URL: "https://panel.example", Token: token})
//	for d, err := range c.Devices(ctx, "site:lab version<2.5") { … }
//
// What it keeps:
//   - A refusal is a [*Problem] with the panel's own sentence; a panel that is not there an
//     [*UnreachableError]; an answer that never came a [*LostError], and only then it is not
//     known whether the panel has done what it was asked.
//   - A request is sent again only where that cannot do a thing twice: when nothing of it was
//     sent, when it only reads or deletes, when the panel said to come back later, or when
//     it carries a key by which the panel knows it again (Idempotency-Key, on every POST).
//   - Everything ends with its context, and every single answer within a bound.
//   - The token goes to the panel alone: never in the clear over a network, and to
//     no other address that an answer may point to.
//
// What it does not do: hold state. What is shown is what the panel said last; two clients of
// one panel know nothing of each other.
//
// Rejected: a client made from the OpenAPI document. It would know routes, and neither which
// may be sent again, nor how an upload goes on, nor what a page's end looks like.
package client
