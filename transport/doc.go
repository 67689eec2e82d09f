// Package transport will be documented by its owner.
package transport
