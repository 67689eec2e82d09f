package main

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	main()
	// Unordered output:
	// Hello, Alice! Meet Bob.
	// Hello, Bob! Meet Alice.
}
