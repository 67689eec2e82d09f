// Package config is what a node is told: by flags, by the environment and by a file, in that order.
//
// It promises that a [Config] that Load returns can be worked with as far as that can be known without starting the
// node: its values make sense together, addresses resolve, files that it names can be read. Every error says which
// setting is wrong and what to do; all of them are reported at once.
package config
