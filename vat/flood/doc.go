// Package flood shows that the limits of a vat hold: for each field of vat.Limits a peer, or local code, that goes
// beyond it, and for the default limits what a hostile peer can make a vat hold at most. It has tests and nothing
// else.
package flood
